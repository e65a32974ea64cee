"""Places: a role means the same layers in every architecture, also where q, k and v share a matrix."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPT2Config

from harness.errors import UserError
from harness.methods import Site
from harness.models import parameters
from harness.models.roles import FAMILIES, Targets, above_smaller_side, left_out, resolve, roles_of, table
from harness.models.tiny import OWN
from harness.places import CONF
from harness.results.record import Record
from tests.support.blocks import BLOCK, HIDDEN, base, logits, named
from tests.support.command_line import SMALL
from tests.support.tiny import adapted, settings
from tests.support.trainers import never, quiet, trainer

ROOT = Path(__file__).parents[2]
MIXTURES = ["mixtral", "olmoe", "qwen2_moe", "qwen3_moe"]


@pytest.mark.parametrize(
    ("architecture", "classes"),
    [
        *((architecture, None) for architecture in sorted(FAMILIES)),
        # transformers has no classifier on OLMoE.
        *((architecture, ("no", "yes")) for architecture in sorted(FAMILIES) if architecture != "olmoe"),
    ],
)
def test_the_roles_share_out_the_linear_layers_of_the_blocks(architecture: str, classes: Any) -> None:
    """Each once, none left out that is not named, and no head: what reads and writes hidden states has their size."""
    model = base(architecture, classes)
    found = {role: named(model, endings) for role, endings in resolve(model, BLOCK).items()}
    chosen = [name for names in found.values() for name in names]
    blocks = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and re.search(r"\.\d+\.", n)]
    said = "".join(left_out(model, BLOCK))
    unnamed = [name for name in blocks if name.partition(".layers.")[2][2:] + ".weight (" in said]
    assert sorted(chosen + unnamed) == sorted(blocks)
    assert bool(said) == (architecture in MIXTURES)
    assert ("gate" in found) == ("gate" in roles_of(architecture))
    for role, names in found.items():
        for name in names:
            layer = model.get_submodule(name)
            if role in ("q", "k", "v", "gate", "up"):
                assert layer.in_features == HIDDEN
            if role in ("o", "down"):
                assert layer.out_features == HIDDEN
            if role in ("gate", "up", "down"):
                assert {layer.in_features, layer.out_features} == {HIDDEN, 256 if architecture == "bloom" else 128}


@pytest.mark.parametrize("architecture", sorted(FAMILIES))
def test_embeddings_are_the_tables_that_tokens_are_looked_up_in(architecture: str) -> None:
    """What is written there is what the model reads: a change of all of them changes the output."""
    model = base(architecture)
    names = named(model, resolve(model, ["embeddings"])["embeddings"])
    before = logits(model)
    for name in names:
        table = model.get_submodule(name)
        assert table.weight.shape == model.get_input_embeddings().weight.shape
        table.weight = nn.Parameter(torch.randn_like(table.weight))
    assert (logits(model) - before).abs().max() > 1e-3


def test_the_first_t5_has_no_gate() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(d_model=16, d_kv=4, d_ff=32, num_layers=1, num_heads=4, vocab_size=11, feed_forward_proj="relu")
    model = T5ForConditionalGeneration(config)
    found = resolve(model, BLOCK)
    assert "gate" not in found
    assert found["up"] == ["wi"]
    assert len(named(model, found["q"])) == 3  # encoder, decoder, and the decoder's look at the encoder


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        (["q_proj"], {"q": ["q_proj"]}),
        ([r".*\.(q|v)_proj"], {"q": ["self_attn.q_proj"], "v": ["self_attn.v_proj"]}),
        ([r"layers\.1\.mlp\..*"], {r: [f"layers.1.mlp.{r}_proj"] for r in ("gate", "up", "down")}),
        (["lm_head", "down_proj"], {"other": ["lm_head"], "down": ["down_proj"]}),
    ],
)
def test_layers_by_name(modules: list[str], expected: dict[str, list[str]]) -> None:
    assert resolve(base("llama"), [], modules) == expected


def test_a_run_names_its_layers_by_name() -> None:
    by_name = adapted(["method=ia3", r"targets.modules=['0\..*\.down_proj',k_proj]"])
    assert parameters.trainable(by_name.model) == 2 * HIDDEN + 2 * HIDDEN // 2  # one layer's inner size, two of k
    layer = by_name.model.get_base_model().model.layers[0].mlp.down_proj
    assert layer.is_feedforward
    chosen, default = by_name.settings, settings("method=ia3")
    assert chosen.run_id() not in (default.run_id(), settings("method=ia3", "targets.modules=[k_proj]").run_id())
    assert "modules" not in default.key()["settings"]


@pytest.mark.parametrize(
    ("architecture", "roles", "modules", "says"),
    [
        ("opt", ["gate"], None, "opt has none of the roles gate; it has down, embeddings, k, o, q, up, v"),
        (
            "gpt2",
            [],
            ["q_proj"],
            "no layer's name ends in q_proj; there are transformer.wte, .*attn.c_attn, attn.c_proj",
        ),
        ("llama", [], ["k_proj", "proj"], r"ends in proj; .*self_attn.q_proj.*lm_head"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(architecture: str, roles: Any, modules: Any, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        resolve(base(architecture), roles, modules)
    assert "\n" not in str(caught.value)


def test_a_role_of_a_larger_set_may_be_missing() -> None:
    assert set(resolve(base("opt"), BLOCK)) == set(BLOCK) - {"gate"}


def test_an_unknown_architecture_is_told_to_name_its_layers() -> None:
    from transformers import GPTJConfig, GPTJForCausalLM

    model = GPTJForCausalLM(GPTJConfig(vocab_size=11, n_positions=8, n_embd=16, n_layer=1, n_head=2, rotary_dim=4))
    with pytest.raises(UserError, match=r"gptj.*known are .*llama.*targets\.modules=.*attn\.q_proj"):
        resolve(model, ["q"])
    assert resolve(model, [], ["q_proj"]) == {"other": ["q_proj"]}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"roles": None, "modules": ["("]}, "not a regular expression"),
        ({"roles": None, "modules": []}, "at least 1"),
        ({"roles": ["q"], "modules": ["q_proj"]}, "not both"),
        ({"roles": None, "modules": "q_proj"}, "list"),
    ],
)
def test_settings_are_checked(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Targets(**given)


@pytest.mark.parametrize("choice", sorted(path.stem for path in (CONF / "targets").glob("*.yaml")))
def test_every_choice_means_something_on_every_architecture_that_has_it(choice: str) -> None:
    roles = settings("method=lora", f"targets={choice}").roles
    for architecture in FAMILIES:
        if set(roles) & set(roles_of(architecture)):
            assert resolve(base(architecture), roles)


def test_a_rank_above_the_smaller_side_warns_and_no_other() -> None:
    model = base("llama")
    found = resolve(model, ["q", "k", "embeddings"])
    assert above_smaller_side(model, found, 32) == []
    (line,) = above_smaller_side(model, found, 33)
    assert "method.rank=33" in line
    assert "k (32)" in line
    assert "q (" not in line
    (line,) = above_smaller_side(model, found, 70)
    assert "q (64), k (32), embeddings (64)" in line


def test_the_record_keeps_the_warning(run_point: Callable[..., Record]) -> None:
    record = run_point("method=lora", "method.rank=40", "targets=attention_qv", small=SMALL)
    assert record.status == "ok"
    (line,) = record.warnings
    assert "v (32)" in line
    assert "q (" not in line


@pytest.mark.parametrize(
    ("architecture", "says", "experts"),
    [
        ("mixtral", ["mlp.gate.weight (2 of [4, 64])", "mlp.experts.gate_up_proj (2 of [4, 256, 64])"], 2),
        ("olmoe", ["mlp.gate.weight (2 of [4, 64])", "mlp.experts.down_proj (2 of [4, 64, 128])"], 2),
        ("qwen2_moe", ["mlp.shared_expert_gate.weight (2 of [1, 64])", "mlp.experts.gate_up_proj (2 of"], 2),
        ("qwen3_moe", ["mlp.up_proj.weight (1 of [128, 64])", "mlp.experts.gate_up_proj (1 of"], 1),
    ],
)
def test_what_no_role_of_a_mixture_names_is_said_and_stays(architecture: str, says: list[str], experts: int) -> None:
    """Nothing else does: after training with all_linear, each matrix of the blocks has an adapter or is named."""
    a = adapted(["method=lora", "targets=all_linear", f"model.architecture={architecture}"])
    plain = base(architecture)
    assert left_out(plain, ["q", "k", "v", "o"]) == []
    (line,) = left_out(plain, BLOCK)
    assert all(words in line for words in says)
    blocks = {name: name.partition(".layers.")[2][2:] for name, _ in plain.named_parameters() if ".layers." in name}
    left = sum(plain.get_parameter(name).numel() for name, short in blocks.items() if f"{short} (" in line)
    assert f"{left / parameters.total(plain):.0%} of the model's parameters" in line
    assert experts * (3 * 4 * 128 * HIDDEN) <= left  # gate, up and down of four experts
    trained = [name for name, p in a.model.get_base_model().named_parameters() if p.requires_grad]
    adapters = {name.partition(".lora_")[0] for name in trained}
    for name, short in blocks.items():
        if plain.get_parameter(name).ndim > 1:
            assert (name.removesuffix(".weight") in adapters) != (f"{short} (" in line), name


def test_experts_are_adapted_by_the_option_that_the_warning_names(tmp_path: Path) -> None:
    plain = base("mixtral")
    (line,) = left_out(plain, BLOCK)
    a = adapted(
        ["method=lora", "targets=all_linear", "model.architecture=mixtral", line.rpartition(" by ")[2], "train.steps=4"]
    )
    assert a.settings.method.warnings(plain, Site(None, {}, "causal", 1, lambda: iter(()), [line])) == []
    trainer(a, tmp_path).run(never, quiet)
    here = logits(a.model.eval())
    merged = a.settings.method.merge(a.model)
    torch.testing.assert_close(logits(merged), here, rtol=0, atol=14 * 2**-24 * HIDDEN * here.abs().max().item())
    for name, weight in plain.named_parameters():
        assert torch.equal(weight, merged.get_parameter(name)) == (not re.search(r"_proj", name)), name


def test_an_mlp_of_experts_alone_is_refused_with_their_names() -> None:
    with pytest.raises(UserError, match=r"none of the roles gate, up, down; .* in no role .*mlp\.experts\.down_proj"):
        resolve(base("mixtral"), ["gate", "up", "down"])


def test_the_record_says_what_is_left_out(run_point: Callable[..., Record]) -> None:
    record = run_point("method=ia3", "targets=all_linear", "model.architecture=mixtral", small=SMALL)
    assert record.status == "ok", record.cause
    (line,) = record.warnings
    assert "mlp.experts.gate_up_proj" in line


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["method=road", "method.options.group_size=24"], r"divisible by group_size \(24\)"),
        (["method=boft", "method.options.boft_block_size=24"], "boft_block_size"),
        (["method=oft", "method.options.oft_block_size=24"], r"Invalid `oft_block_size` \(24\)"),
        (["method=c3a", "method.options.block_size=24"], "block size"),
        (["method=vblora", "method.options.vector_length=24"], "divisible by `vector_length` 24"),
        (["method=gralora", "method.rank=7"], "divisible by gralora_k"),
        (["method=shira", "method.rank=100"], "rank 100"),
        (["method=vera", "targets=embeddings"], "No layers types compatible"),
        (["method=loha", "targets=embeddings"], "not supported"),
        (["method=lily", "targets=embeddings"], "does not support"),
        (["method=lora", "+method.options.runtime=1"], "LoraConfig has no such field"),
    ],
)
def test_what_peft_refuses_is_one_line(overrides: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        adapted(overrides)
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["vera", "randlora"])
def test_shared_matrices_serve_layers_of_unlike_shape(method: str, tmp_path: Path) -> None:
    """PEFT cuts each layer's matrices out of the largest ones: q, v and down differ in both sides."""
    a = adapted([f"method={method}", "method.rank=8", "targets.roles=[q,v,down]"])
    outputs = {"q": HIDDEN, "v": HIDDEN // 2, "down": HIDDEN}
    if method == "vera":  # d of the rank, b of the outputs
        assert parameters.trainable(a.model) == 2 * sum(8 + size for size in outputs.values())
    before = a.forward.mean_loss(a.task.validation)
    trainer(a, tmp_path).run(never, quiet)
    assert a.forward.mean_loss(a.task.validation) < before


def test_the_docs_show_the_table() -> None:
    assert table() in (ROOT / "docs/targets.md").read_text()


def test_every_family_has_a_tiny_model() -> None:
    assert set(OWN) == set(FAMILIES)
    assert GPT2Config().model_type in FAMILIES
