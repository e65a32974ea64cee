"""Layers rebuilt for a method: q, k and v of one matrix are adapted apart, and the model stays what it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from harness.errors import UserError
from harness.methods import Method, Site
from harness.models import parameters
from harness.models.roles import FUSED, Fused, resolve
from harness.models.split_layers import restore
from harness.results.lines import read_lines
from harness.results.record import Record
from tests.support.blocks import BLOCK, HIDDEN, base, logits, named
from tests.support.records import run_folder
from tests.support.tiny import adapted, settings
from tests.support.trainers import never, quiet, trainer

SUMS = 14
"""Sums one behind another in two blocks of seven matrices: how often rounding is rounded again in fp32."""


def rounded(expected: torch.Tensor) -> float:
    """How far the rounding of one sum may move values of this size: fp32's roundoff, 2^-24, times the terms, the hidden
    size. In a model in fp64, normalizations and softmax still compute in fp32."""
    return 2**-24 * HIDDEN * expected.abs().max().item()


PROJECTIONS = [(architecture, fused) for architecture in sorted(FUSED) for fused in FUSED[architecture]]


def theirs(architecture: str, owner: Any, fused: torch.Tensor) -> list[torch.Tensor]:
    """The parts [batch, length, width] of a fused output, by the lines of transformers' own forward."""
    if architecture == "phi3" and hasattr(owner, "gate_up_proj"):
        return list(fused.chunk(2, dim=-1))
    if architecture == "phi3":
        query_pos = owner.config.num_attention_heads * owner.head_dim
        end = query_pos + owner.num_key_value_heads * owner.head_dim
        return [fused[..., :query_pos], fused[..., query_pos:end], fused[..., end:]]
    if architecture == "gpt2":
        return list(fused.split(owner.split_size, dim=2))
    if architecture == "bloom":
        return [part.transpose(1, 2).flatten(2) for part in owner._reshape(fused)]
    heads = fused.view(*fused.shape[:-1], -1, 3 * owner.head_size).transpose(1, 2)
    return [part.transpose(1, 2).flatten(2) for part in heads.chunk(3, dim=-1)]


@pytest.mark.parametrize(("architecture", "fused"), PROJECTIONS)
def test_a_fused_projection_in_parts_computes_the_same(architecture: str, fused: Fused) -> None:
    model = base(architecture)
    name = named(model, [fused.ending])[1]
    owner = model.get_submodule(name.rpartition(".")[0])
    whole = model.get_submodule(name)
    if whole.bias is not None:
        nn.init.normal_(whole.bias)
    x = torch.randn(2, 5, HIDDEN)
    output, before = whole(x), logits(model)
    stored = {n: p.clone() for n, p in model.state_dict().items()}
    count, random = parameters.total(model), torch.get_rng_state()

    resolve(model, [fused.parts[0]])
    split = model.get_submodule(name)
    torch.testing.assert_close(split(x), output, rtol=0, atol=rounded(output))
    for part, expected in zip(fused.parts, theirs(architecture, owner, output), strict=True):
        torch.testing.assert_close(split.get_submodule(part)(x), expected, rtol=0, atol=rounded(output))
    torch.testing.assert_close(logits(model), before, rtol=0, atol=rounded(before))
    resolve(model, BLOCK)
    torch.testing.assert_close(logits(model), before, rtol=0, atol=rounded(before))
    assert not any(isinstance(m, Conv1D) for m in model.modules())
    assert parameters.total(model) == count
    assert torch.equal(torch.get_rng_state(), random)

    back = restore(model).state_dict()
    assert list(back) == list(stored)
    assert all(torch.equal(back[n], p) for n, p in stored.items())
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("architecture", sorted(FUSED))
def test_q_and_v_of_a_fused_projection_are_trained_apart_and_k_is_not(architecture: str, tmp_path: Path) -> None:
    tiny = ["method=lora", "targets=attention_qv", f"model.architecture={architecture}"]
    a = adapted([*tiny, "train.steps=10"])
    untouched = base(architecture)
    made = trainer(a, tmp_path)
    made.run(never, quiet)
    trained = [name for name, p in a.model.named_parameters() if p.requires_grad]
    assert sum(".q.lora_A." in name for name in trained) == 2  # two layers, an A each for q and for v
    assert sum(".v.lora_A." in name for name in trained) == 2
    assert len(trained) == 8
    here = logits(a.model.eval())

    method = a.settings.method
    method.save(a.model, tmp_path / "adapter")
    loaded = method.load(base(architecture), tmp_path / "adapter").eval()
    torch.testing.assert_close(logits(loaded), here, rtol=0, atol=1e-6)

    merged = method.merge(a.model)
    torch.testing.assert_close(logits(merged), here, rtol=0, atol=SUMS * rounded(here))
    fused = FUSED[architecture][0]
    for name in named(untouched, [fused.ending]):
        whole = merged.get_submodule(name)
        change = whole.weight - untouched.get_submodule(name).weight
        rows = change.T if architecture == "gpt2" else change
        widths = [HIDDEN // 2 if architecture == "phi3" and part != "q" else HIDDEN for part in "qkv"]
        parts = rows.reshape(-1, 3, HIDDEN // 4, HIDDEN).unbind(1) if fused.by_head else rows.split(widths)
        q, k, v = parts
        assert torch.equal(k, torch.zeros_like(k))
        assert q.any()
        assert v.any()
        assert torch.linalg.matrix_rank(v.reshape(-1, HIDDEN)) <= 8

    merged.save_pretrained(tmp_path / "merged")
    again = type(untouched).from_pretrained(tmp_path / "merged", attn_implementation="eager").eval()
    assert torch.equal(logits(again), logits(merged))


def test_gate_and_up_of_one_matrix_are_trained_apart(tmp_path: Path) -> None:
    a = adapted(["method=lora", "targets=gate", "model.architecture=phi3", "train.steps=4"])
    trainer(a, tmp_path).run(never, quiet)
    here = logits(a.model.eval())
    merged, untouched = a.settings.method.merge(a.model), base("phi3")
    torch.testing.assert_close(logits(merged), here, rtol=0, atol=SUMS * rounded(here))
    for name in named(untouched, ["gate_up_proj"]):
        gate, up = (merged.get_submodule(name).weight - untouched.get_submodule(name).weight).chunk(2)
        assert gate.any()
        assert not up.any()


EMBEDDINGS = {"llama": "embed_tokens", "gpt2": "wte", "t5": "embed_tokens"}
PLACES = {
    "head": ["targets.modules=[lm_head]"],
    "embeddings": ["targets=embeddings"],
    "both": ["targets.modules=[lm_head,{embeddings}]"],
    "everything": [r"targets.modules=['.*']"],
    "copy of the head": ["targets=o", "+method.options.modules_to_save=[lm_head]"],
    "copy of the embeddings": ["targets=o", "+method.options.modules_to_save=[{embeddings}]"],
    "rows of both": ["targets=o", "+method.options.trainable_token_indices=[5,6,7]"],
    "both, with one adapter": ["targets.modules=[{embeddings}]", "+method.options.ensure_weight_tying=true"],
}
"""What of a head and embeddings that share a weight is adapted, and how."""
COPIES = {"head": 1, "embeddings": 1, "both": 1, "copy of the head": 1, "rows of both": 0}
"""Weights that the merged model has besides the base's, where there is one table of embeddings."""


def varied(method: str, architecture: str, given: list[str]) -> tuple[Method, Any]:
    """A method with its model in fp64, every trained value moved, so that a change of each place shows."""
    words = [each.format(embeddings=EMBEDDINGS[architecture]) for each in given]
    chosen = settings(f"method={method}", f"model.architecture={architecture}", *words)
    model = base(architecture)
    places = resolve(model, chosen.roles, chosen.targets.modules)
    kind: Any = "seq2seq" if architecture == "t5" else "causal"
    a = chosen.method.apply(model, Site(None, places, kind, 1, lambda: iter(()))).eval()
    for p in a.parameters():
        if p.requires_grad:
            p.data += 0.1 * torch.randn_like(p)
    return chosen.method, a.double()


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("architecture", EMBEDDINGS)
def test_a_merge_changes_no_layer_that_shares_an_adapted_weight(architecture: str, places: str, tmp_path: Path) -> None:
    method, a = varied("lora", architecture, PLACES[places])
    here = logits(a)
    untouched = base(architecture).double()
    assert (logits(untouched) - here).abs().max() > 1e-2
    merged = method.merge(a)
    assert (logits(merged) - here).abs().max() <= rounded(here)

    # T5 looks texts up in tables of encoder and decoder; the module that `get_input_embeddings` gives is never called.
    embeddings = merged.encoder.embed_tokens if architecture == "t5" else merged.get_input_embeddings()
    head, table = merged.get_output_embeddings().weight, embeddings.weight
    old = untouched.get_input_embeddings().weight
    assert (head is table) == (places == "rows of both")
    if places in ("head", "copy of the head"):
        assert torch.equal(table, old)
    if places in ("embeddings", "copy of the embeddings"):
        assert torch.equal(head, old)
    if architecture != "t5" and places in COPIES:
        assert parameters.total(merged) == parameters.total(untouched) + COPIES[places] * old.numel()

    merged.save_pretrained(tmp_path)
    if head is not table and (architecture, places) != ("t5", "copy of the embeddings"):
        # transformers takes T5's tables as tied where the file has one alone, whatever its configuration says.
        assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is False
    again = type(merged).from_pretrained(tmp_path, attn_implementation="eager", dtype=torch.float64).eval()
    assert torch.equal(logits(again), logits(merged))


@pytest.mark.parametrize("method", ["corda", "kasa", "loftq", "lora_ga", "olora", "pissa"])
def test_a_start_that_rewrites_the_head_leaves_the_embeddings_that_share_its_weight(
    method: str, tmp_path: Path
) -> None:
    a = adapted([f"method={method}", "targets.modules=[lm_head]"])
    untouched = base("llama")
    table = untouched.get_input_embeddings().weight
    assert torch.equal(a.model.get_input_embeddings().weight, table)
    if a.settings.method.facts.start == "close":
        # The head alone is computed otherwise: W - BA and BA are each rounded, and summed over the hidden size.
        bound = 4 * rounded(logits(untouched))
        torch.testing.assert_close(logits(a.model.eval()), logits(untouched), rtol=0, atol=bound)
    a.settings.method.save(a.model, tmp_path)
    loaded = a.settings.method.load(base("llama"), tmp_path).eval()
    assert torch.equal(loaded.get_input_embeddings().weight, table)
    torch.testing.assert_close(logits(loaded), logits(a.model.eval()), rtol=0, atol=rounded(logits(untouched)))


def test_a_start_chosen_by_an_option_rewrites_the_head_alone_too() -> None:
    a = adapted(["method=lora", "targets.modules=[lm_head]", "+method.options.init_lora_weights=pissa"])
    assert torch.equal(a.model.get_input_embeddings().weight, base("llama").get_input_embeddings().weight)


@pytest.mark.parametrize("method", ["full", "bitfit", "trainable_tokens"])
def test_a_shared_weight_that_is_trained_itself_stays_shared(method: str, tmp_path: Path) -> None:
    architecture = settings(f"method={method}").method.facts.architecture
    a = adapted([f"method={method}", f"model.architecture={architecture}", "train.steps=4"])
    trainer(a, tmp_path).run(never, quiet)
    here = logits(a.model.eval())
    model = a.settings.method.merge(a.model) if a.settings.method.facts.merges else a.model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path / "kept")
    again = type(model).from_pretrained(tmp_path / "kept", attn_implementation="eager").eval()
    torch.testing.assert_close(logits(again), here, rtol=0, atol=rounded(here))


def test_the_kept_model_of_an_adapted_head_answers_as_its_adapter_did(
    run_point: Callable[..., Record], tmp_path: Path
) -> None:
    tiny = ["dtype=fp32", "eval.test_examples=16", "inference.batch_sizes=[]"]
    trained = run_point("method=lora", "targets.modules=[lm_head]", "method.lr=0.02", "keep_model=true", *tiny)
    assert trained.status == "ok", trained.cause
    place = tmp_path / "results"
    kept = run_folder(place, trained.id) / "model"
    plain = run_point("method=zero_shot", "model=path", f"model.path={kept}", *tiny)
    assert plain.status == "ok", plain.cause
    texts = [
        [line["prediction"] for line in read_lines(run_folder(place, record.id) / "predictions.jsonl")]
        for record in (trained, plain)
    ]
    assert texts[0] == texts[1]
    assert trained.parameters is not None
    assert plain.parameters is not None
    own = trained.parameters.total - trained.parameters.added
    assert plain.parameters.total == own + base("llama").get_input_embeddings().weight.numel()


@pytest.mark.parametrize("method", ["full", "zero_shot", "prompt_tuning", "prefix_tuning"])
def test_a_method_without_targets_leaves_the_layers_as_they_are(method: str) -> None:
    a = adapted([f"method={method}", "model.architecture=gpt2"])
    model = a.model.get_base_model() if hasattr(a.model, "get_base_model") else a.model
    kinds = [type(m) for m in base("gpt2").modules()]
    assert [type(m) for m in model.modules()] == kinds


def test_only_what_is_chosen_is_rebuilt() -> None:
    model = base("gpt2")
    resolve(model, ["up"])
    assert isinstance(model.transformer.h[0].mlp.c_fc, nn.Linear)
    assert isinstance(model.transformer.h[0].attn.c_attn, Conv1D)
    assert isinstance(model.transformer.h[0].mlp.c_proj, Conv1D)


def test_quantized_q_k_and_v_in_one_matrix_are_refused(tmp_path: Path) -> None:
    source = settings("method=lora", "model.architecture=gpt2").model
    model, tokenizer = source.load(torch.float32, "cpu", None)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    quantized = ["method=lora", "model=path", f"model.path={tmp_path}", "quantization=nf4"]
    with pytest.raises(UserError, match=r"q, k and v in one.*quantization=none.*targets\.modules=\[attn\.c_attn\]"):
        adapted([*quantized, "targets=attention_qv"])
    whole = adapted([*quantized, "targets.modules=[attn.c_attn]"])
    assert parameters.trainable(whole.model) == 2 * 8 * (HIDDEN + 3 * HIDDEN)
