"""Plans: equal to what the ledger measures, to closed forms and published counts; and what is said of bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.commands import plan as command
from harness.commands.plan import main
from harness.config.compose import composed
from harness.config.run_settings import RunSettings
from harness.config.validate import settings_from
from harness.errors import UserError
from harness.host.units import budget_bytes
from harness.memory.fake_tensors import shapes_only
from harness.memory.ledger_pass import layer_constants
from harness.memory.planner import measure, plan
from harness.memory.quantized_shapes import quantize_shapes
from harness.models.quantization import Quantization, quantize
from harness.models.shapes import ShapeModel
from harness.places import CONF
from harness.training.optimizer import make_optimizer
from tests.support.tiny import SMALL

TWO_LAYERS = ("model=gpt2", "model.shape.num_hidden_layers=2", "device=cuda", "train.batch_size=2", "eval.batch_size=1")
METHODS = ("full", "lora", "prefix_tuning", "prompt_tuning", "ia3", "houlsby", "vera", "lokr", "lora_ga")


def settings(*overrides: str) -> RunSettings:
    return settings_from(composed([*SMALL, *overrides]), planned=True)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans of the test's own."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("checkpointing", ["false", "true"])
@pytest.mark.parametrize("method", METHODS)
def test_a_plan_is_what_the_ledger_measures_byte_for_byte(method: str, checkpointing: str) -> None:
    given = [f"method={method}", f"train.gradient_checkpointing={checkpointing}", "dtype=bf16"]
    if method == "prefix_tuning" and checkpointing == "true":
        with pytest.raises(UserError, match="use false, or method=prompt_tuning"):
            settings(*given)
        return
    chosen = settings(*given)
    assert plan(chosen, None) == measure(chosen)


@pytest.mark.parametrize(
    "given",
    [
        ["method=lora", "quantization=nf4_dq", "quantization.block_size=32", "train.optimizer=paged_adamw8bit"],
        ["method=lora", "quantization=fp4", "quantization.block_size=32", "train.gradient_checkpointing=true"],
        ["method=full", "train.optimizer=adamw8bit", "train.accumulation=2"],
        ["method=lora", "model.architecture=gpt2", "eval.beams=3"],
        ["method=lora", "model.architecture=t5"],
        ["method=lora", "model.architecture=bert", "data=cuisine"],
        ["method=lora", "model.architecture=olmoe"],
        ["method=full", "model.architecture=qwen2_moe", "dtype=bf16"],
        ["method=zero_shot"],
    ],
)
def test_so_is_that_of_other_weights_optimizers_and_architectures(given: list[str]) -> None:
    chosen = settings(*(["data.size=100", *given] if "data=cuisine" not in given else given))
    assert plan(chosen, None) == measure(chosen)


@pytest.mark.parametrize(("kind", "double"), [("nf4", True), ("nf4", False), ("fp4", True)])
@pytest.mark.parametrize("block", [64, 128])
def test_the_twin_of_a_4_bit_layer_holds_what_the_layer_holds(kind: str, double: bool, block: int) -> None:
    chosen = Quantization(kind=kind, double=double, block_size=block)  # type: ignore[arg-type]
    assert layers_of(chosen, real=False) == layers_of(chosen, real=True)


def layers_of(chosen: Quantization, real: bool) -> list[list[tuple[str, int, str]]]:
    """Shapes, bytes and types of a quantized block's weights and constants."""
    source = settings("model.hidden_size=256").model
    config, _ = source.parts()
    if real:
        model: Any = quantize(source.outline(config, torch.bfloat16, "eager"), chosen, torch.bfloat16)
    else:
        with shapes_only():
            model = quantize_shapes(source.outline(config, torch.bfloat16, "eager"), chosen, torch.bfloat16)
    layers = [layer for layer in model.modules() if hasattr(getattr(layer, "weight", None), "quant_state")]
    assert layers
    return [
        [(str(tuple(each.shape)), each.untyped_storage().nbytes(), str(each.dtype)) for each in tensors]
        for tensors in ([layer.weight, *layer_constants(layer)] for layer in layers)
    ]


def test_the_twin_of_an_int8_layer_holds_what_the_layer_holds() -> None:
    import bitsandbytes as bnb

    plain = torch.nn.Linear(64, 96, bias=False)
    layer = bnb.nn.Linear8bitLt(64, 96, bias=False, has_fp16_weights=False)
    layer.load_state_dict(plain.state_dict())
    layer.to("cpu")
    source = settings("model.hidden_size=64").model
    with shapes_only():
        model: Any = source.outline(source.parts()[0], torch.bfloat16, "eager")
        model = quantize_shapes(model, Quantization(kind="int8", double=False), torch.bfloat16)
    twin = model.model.layers[0].mlp.up_proj
    rows = twin.weight.shape[0]
    assert twin.weight.dtype == layer.weight.dtype == torch.int8
    assert [each.dtype for each in layer_constants(twin)] == [torch.float32]
    assert layer_constants(twin)[0].numel() == rows
    assert (layer.weight.SCB if layer.weight.SCB is not None else layer.state.SCB).numel() == 96


@pytest.mark.parametrize("name", ["adamw", "adamw8bit", "paged_adamw8bit", "paged_adamw"])
@pytest.mark.parametrize("elements", [4095, 4096, 5000])
def test_optimizer_states_of_shapes_are_the_real_ones(name: str, elements: int) -> None:
    def state() -> dict[str, tuple[str, int]]:
        weight = torch.nn.Parameter(torch.ones(elements))
        optimizer = make_optimizer(name, [{"params": [weight], "lr": 0.0}], 0.0)
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        held = {**optimizer.state[weight], **getattr(optimizer, "name2qmap", {})}
        return {
            key: (str(each.dtype), each.untyped_storage().nbytes())
            for key, each in held.items()
            if isinstance(each, torch.Tensor)
        }

    real = state()
    with shapes_only():
        assert state() == real
    if name.endswith("8bit"):
        begun = elements >= 4096
        assert real["state1"] == ("torch.uint8", elements) if begun else ("torch.float32", 4 * elements)


PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2_medium": 354_823_168,
    "gpt2_large": 774_030_080,
    "gpt2_xl": 1_557_611_200,
    "llama3_2_1b": 1_235_814_400,
    "llama3_2_3b": 3_212_749_824,
    "llama2_7b": 6_738_415_616,
    "llama_65b": 65_285_660_672,
    "mistral_7b": 7_241_732_096,
    "t5_small": 60_506_624,
    "t5_base": 222_903_552,
    "t5_large": 737_668_096,
    "t5_3b": 2_851_598_336,
    "t5_11b": 11_307_321_344,
    "bert_base": 109_482_240 + 2 * 768 + 2,
    "bert_large": 335_141_888 + 2 * 1024 + 2,
}
"""Parameters of the released checkpoints; BERT's with its pooler and a head of two classes."""


def test_every_shape_has_the_published_number_of_parameters() -> None:
    found = {}
    for path in (CONF / "model").glob("*.yaml"):
        source = (
            settings_from(composed([f"model={path.stem}", "tracker=none"]), planned=True).model
            if ("ShapeModel" in path.read_text())
            else None
        )
        if isinstance(source, ShapeModel):
            classes = ("a", "b") if source.architecture == "bert" else None
            with shapes_only():
                model = source.outline(source.parts(classes)[0], torch.bfloat16, "eager", classes)
                found[source.name] = sum(p.numel() for p in model.parameters())
    assert found == PUBLISHED


def test_a_plan_without_weights_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    given = [*TWO_LAYERS, "method=lora", "targets=attention_qv", "plan.format=json", "plan.length=64"]
    main([*given, "plan.budget=1MiB"])
    (line,) = json.loads(capsys.readouterr().out)
    assert {"peak_bytes", "by_owner", "by_phase", "trainable_parameters", "adapter_bytes", "fits"} <= set(line)
    assert line["trainable_parameters"] == 2 * 2 * 8 * (768 + 768)
    assert line["adapter_bytes"] == 4 * line["trainable_parameters"]
    assert line["peak_bytes"] == sum(line["by_owner"].values()) == max(p["bytes"] for p in line["by_phase"].values())
    assert line["fits"] is False
    (least,) = line["suggestions"]
    assert not least["fits"]
    assert least["peak_bytes"] < line["peak_bytes"]


def test_what_would_make_it_fit_does(capsys: pytest.CaptureFixture[str]) -> None:
    given = [*TWO_LAYERS, "method=full", "plan.length=64", "plan.format=json"]
    main([*given, "plan.budget=1000MiB"])
    (line,) = json.loads(capsys.readouterr().out)
    assert line["suggestions"]
    for change in line["suggestions"]:
        main([*given, "plan.budget=1000MiB", *change["overrides"].split()])
        (changed,) = json.loads(capsys.readouterr().out)
        assert changed["fits"]
        assert changed["peak_bytes"] == change["peak_bytes"]


def test_seed_and_learning_rate_share_a_plan(tmp_path: Path) -> None:
    shape = [*TWO_LAYERS, "method=lora"]
    for more in (["seed=1"], ["method.lr=0.1"], ["train.steps=500"]):
        plan(settings_from(composed([*shape, *more]), planned=True), 16)
    assert len(list((tmp_path / "cache/plans").iterdir())) == 1
    plan(settings_from(composed([*shape, "train.batch_size=4"]), planned=True), 16)
    assert len(list((tmp_path / "cache/plans").iterdir())) == 2


@pytest.mark.parametrize(("text", "size"), [("24GiB", 24 * 2**30), ("1.5 MiB", 3 * 2**19), ("1TiB", 2**40)])
def test_budgets(text: str, size: int) -> None:
    assert budget_bytes(text) == size


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["plan.budget=24"], "has no unit; write 24GiB: KiB, MiB, GiB or TiB, powers of 1024"),
        (["plan.budget=24GB"], "powers of ten; write 24GiB"),
        (["plan.budget=-1"], "more than nothing; write 24GiB"),
        (["plan.budget=abc"], "is no amount of memory; write 24GiB"),
        (["plan.lenght=3"], "plan.lenght: unknown key; did you mean length?"),
        (["plan.length=0"], "plan.length=0: input should be greater than or equal to 2"),
        (["model=gpt2", "model.architecture=gtp2"], "transformers knows none of this name; did you mean gpt2?"),
        (["model=gpt2", "model.shape.num_attention_heads=7"], "num_attention_heads=7 does not divide hidden_size=768"),
        (["model=llama2_7b", "model.shape.num_key_value_heads=5"], "num_key_value_heads=5 does not divide"),
        (["-m", "seed=range(0,10000)"], "10,000 points are more than 2,000; narrow the sweep"),
        (["method=prefix_tuning", "train.gradient_checkpointing=true"], "use false, or method=prompt_tuning"),
        (["model=tiny_random", "plan.measure=true", "plan.length=16"], "leave plan.length and plan.masters out"),
        (["model=gpt2", "plan.length=2000"], "the model reads 1024 tokens at most"),
    ],
)
def test_bad_inputs(given: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as error:
        main(given)
    assert len(error.value.problems) == 1
    assert said in error.value.problems[0]


def test_a_quantized_plan_without_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    import harness.memory.planner

    monkeypatch.setattr(harness.memory.planner, "installed", lambda package: None)
    with pytest.raises(UserError, match="needs bitsandbytes, which is not installed; pip install bitsandbytes"):
        main(["model=gpt2", "quantization=nf4"])


def test_a_shape_is_refused_by_a_run_before_anything_is_loaded() -> None:
    with pytest.raises(UserError, match="is a shape without weights, for python"):
        settings_from(composed(["model=llama2_7b"]))


def test_a_sweep_is_planned_point_by_point(capsys: pytest.CaptureFixture[str]) -> None:
    main(["-m", *TWO_LAYERS, "method=lora,ia3", "plan.length=16", "plan.tensors=2"])
    out = capsys.readouterr().out
    assert "lora r=8" in out
    assert "ia3" in out
    assert "wte.weight" in out


def test_help_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["--help"])
    assert "plan.budget=24GiB" in capsys.readouterr().out
