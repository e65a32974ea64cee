"""Layers rebuilt for a method: q, k and v of one matrix are adapted apart, and the model stays what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_targets import BLOCK, HIDDEN, base, logits, named
from test_training import never, quiet, trainer
from tiny import adapted, settings
from torch import nn
from transformers.pytorch_utils import Conv1D

from harness.errors import UserError
from harness.fused import restore
from harness.measure import parameters
from harness.methods import Site
from harness.targets import FUSED, resolve


def theirs(architecture: str, attention: Any, fused: torch.Tensor) -> list[torch.Tensor]:
    """q, k, v [batch, length, hidden] of a fused output, by the lines of transformers' own forward."""
    if architecture == "gpt2":
        return list(fused.split(attention.split_size, dim=2))
    if architecture == "bloom":
        return [part.transpose(1, 2).flatten(2) for part in attention._reshape(fused)]
    heads = fused.view(*fused.shape[:-1], -1, 3 * attention.head_size).transpose(1, 2)
    return [part.transpose(1, 2).flatten(2) for part in heads.chunk(3, dim=-1)]


@pytest.mark.parametrize("architecture", sorted(FUSED))
def test_a_fused_projection_in_parts_computes_the_same(architecture: str) -> None:
    model = base(architecture)
    ending, _ = FUSED[architecture]
    name = named(model, [ending])[1]
    attention = model.get_submodule(name.rpartition(".")[0])
    whole = model.get_submodule(name)
    nn.init.normal_(whole.bias)
    x = torch.randn(2, 5, HIDDEN)
    fused, before = whole(x), logits(model)
    stored = {n: p.clone() for n, p in model.state_dict().items()}
    count, random = parameters.total(model), torch.get_rng_state()

    resolve(model, ["q"])
    split = model.get_submodule(name)
    torch.testing.assert_close(split(x), fused, rtol=0, atol=1e-5)
    for part, expected in zip("qkv", theirs(architecture, attention, fused), strict=True):
        torch.testing.assert_close(split.get_submodule(part)(x), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(logits(model), before, rtol=0, atol=1e-5)
    resolve(model, BLOCK)
    torch.testing.assert_close(logits(model), before, rtol=0, atol=1e-5)
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
    torch.testing.assert_close(logits(merged), here, rtol=0, atol=1e-4)
    ending, by_head = FUSED[architecture]
    for name in named(untouched, [ending]):
        whole = merged.get_submodule(name)
        change = whole.weight - untouched.get_submodule(name).weight
        rows = change.T if architecture == "gpt2" else change
        size = HIDDEN // 4 if by_head else HIDDEN
        q, k, v = rows.reshape(-1, 3, size, HIDDEN).unbind(1)
        assert torch.equal(k, torch.zeros_like(k))
        assert q.any()
        assert v.any()
        assert torch.linalg.matrix_rank(v.flatten(0, 1)) <= 8

    merged.save_pretrained(tmp_path / "merged")
    again = type(untouched).from_pretrained(tmp_path / "merged", attn_implementation="eager").eval()
    assert torch.equal(logits(again), logits(merged))


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "t5"])
def test_embeddings_merge_without_the_layers_that_share_their_weight(architecture: str, tmp_path: Path) -> None:
    chosen = settings("method=lora", "targets=embeddings", f"model.architecture={architecture}")
    model = base(architecture)
    places = resolve(model, chosen.roles)
    kind: Any = "seq2seq" if architecture == "t5" else "causal"
    a = chosen.method.apply(model, Site(None, places, kind, 1, lambda: iter(())))
    for p in a.parameters():
        if p.requires_grad:
            nn.init.normal_(p, std=0.1)
    here = logits(a.eval())
    merged = chosen.method.merge(a)
    torch.testing.assert_close(logits(merged), here, rtol=0, atol=1e-4)
    assert (logits(base(architecture)) - here).abs().max() > 1e-2
    merged.save_pretrained(tmp_path)
    again = type(merged).from_pretrained(tmp_path, attn_implementation="eager").eval()
    torch.testing.assert_close(logits(again), here, rtol=0, atol=1e-4)


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
    with pytest.raises(UserError, match=r"quantization=none.*targets\.modules=\[attn\.c_attn\]"):
        adapted([*quantized, "targets=attention_qv"])
    whole = adapted([*quantized, "targets.modules=[attn.c_attn]"])
    assert parameters.trainable(whole.model) == 2 * 8 * (HIDDEN + 3 * HIDDEN)
