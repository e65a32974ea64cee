"""Precisions of weights, products and optimizer state: closed forms, the QLoRA paper's values, a naive witness."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hydra import compose, initialize_config_dir

from harness.commands import quantization
from harness.config.validate import settings_from
from harness.errors import RunEnded, UserError
from harness.models.quantization import (
    Quantization,
    constants,
    plain_weight,
    quantizable_layers,
    quantize,
    quantized_layers,
    weight_bytes,
)
from harness.models.tiny import TinyRandom
from harness.places import CONF
from harness.prepare.base_model import load_base
from harness.prepare.forward import LabelForward
from harness.settings import Train
from harness.training.optimizer import make_optimizer, trainable
from harness.training.trainer import Trainer, TrainingData
from tests.support.command_line import TINY
from tests.support.tiny import adapted, settings

FORMATS = sorted(path.stem for path in (CONF / "quantization").glob("*.yaml") if path.stem != "none")
FOUR_BIT = [name for name in FORMATS if name != "int8"]
SIZE = 256
"""Hidden size at which every layer of the tiny model fills blocks of 64 * 256."""

# Dettmers et al. 2023 (https://arxiv.org/abs/2305.14314), appendix E.
NF4 = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
]
# E2M1 with bitsandbytes' one subnormal, scaled to a largest value of 1.
FP4 = [sign * v / 192 for v in (0, 1, 32, 48, 64, 96, 128, 192) for sign in (1, -1)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny models as `save_pretrained` writes them, by architecture."""
    found = {}
    for architecture in ("llama", "gpt2"):
        folder = found[architecture] = tmp_path_factory.mktemp(architecture)
        source = TinyRandom(name="tiny", hidden_size=SIZE, architecture=architecture)
        model, tokenizer = source.load(torch.float32, "cpu", None)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return found


@pytest.fixture
def path_settings(folders: dict[str, Path]) -> list[str]:
    return ["model=path", f"model.path={folders['llama']}"]


def nearest(scaled: torch.Tensor, levels: list[float]) -> torch.Tensor:
    """Each value's nearest level."""
    table = torch.tensor(levels)
    return table[(scaled.unsqueeze(-1) - table).abs().argmin(-1)]


def load(path_settings: list[str], *overrides: str) -> Any:
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", [*TINY[1:], "data.size=100", "dtype=fp32", *path_settings, *overrides])
    return load_base(settings_from(config))[0]


@pytest.mark.parametrize(("kind", "levels"), [("nf4", NF4), ("fp4", FP4)])
@pytest.mark.parametrize("block", [64, 128])
def test_round_trip_is_the_nearest_level(path_settings: list[str], kind: str, levels: list[float], block: int) -> None:
    plain = quantizable_layers(load(path_settings))
    stored = quantized_layers(load(path_settings, f"quantization={kind}", f"quantization.block_size={block}"))
    assert plain.keys() == stored.keys()
    assert len(plain) == 2 * 7, "all linear layers of two blocks, and not the output head"
    for name, weight in plain.items():
        scale = weight.reshape(-1, block).abs().amax(1, keepdim=True)
        scaled, kept = weight.reshape(-1, block) / scale, plain_weight(stored[name]).reshape(-1, block) / scale
        torch.testing.assert_close(kept, nearest(kept, levels), rtol=0, atol=1e-6)
        # Errors, not values: a weight may lie halfway between two levels.
        torch.testing.assert_close((kept - scaled).abs(), (nearest(scaled, levels) - scaled).abs(), rtol=0, atol=1e-6)


def test_int8_is_rounding_by_rows(path_settings: list[str]) -> None:
    """Dettmers et al. 2022 (https://arxiv.org/abs/2208.07339), section 2.1, by rows: half a step, and
    what bitsandbytes loses by taking the weights in fp16."""
    plain = quantizable_layers(load(path_settings))
    for name, layer in quantized_layers(load(path_settings, "quantization=int8")).items():
        step = plain[name].abs().amax(1, keepdim=True) / 127
        assert ((plain_weight(layer) - plain[name]).abs() <= (0.5 + 127 * 2**-11) * step).all()


@pytest.mark.parametrize("block", [32, 64, 128])
def test_bits_of_the_constants(path_settings: list[str], block: int) -> None:
    """32/64 = 0.5 bits a parameter; with double quantization 8/64 + 32/(64 * 256) = 0.127, and a mean a layer."""
    for suffix, bits in (("", 32 / block), ("_dq", 8 / block + 32 / (block * 256))):
        model = load(path_settings, f"quantization=nf4{suffix}", f"quantization.block_size={block}")
        layers = quantized_layers(model)
        parameters = sum(layer.in_features * layer.out_features for layer in layers.values())
        found = sum(8 * t.numel() * t.element_size() for layer in layers.values() for t in constants(layer))
        means = 32 * len(layers) if suffix else 0
        assert found == bits * parameters + means
        assert sum(layer.weight.numel() for layer in layers.values()) == parameters / 2
        rest = sum(p.numel() * 4 for n, p in model.named_parameters() if "proj" not in n)
        assert weight_bytes(model) == rest + parameters / 2 + found / 8
    assert round(8 / 64 + 32 / (64 * 256), 3) == 0.127


@pytest.mark.parametrize("name", FOUR_BIT)
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_quantizing_a_loaded_model_is_what_transformers_does(
    folders: dict[str, Path], architecture: str, name: str
) -> None:
    where = ["model=path", f"model.path={folders[architecture]}"]
    theirs = load(where, f"quantization={name}")
    kind, _, double = name.partition("_")
    ours = quantize(load(where), Quantization(kind=kind, double=bool(double), block_size=64), torch.float32)  # type: ignore[arg-type]
    assert quantized_layers(ours).keys() == quantized_layers(theirs).keys()
    for layer, other in zip(quantized_layers(ours).values(), quantized_layers(theirs).values(), strict=True):
        assert torch.equal(plain_weight(layer), plain_weight(other))
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.equal(ours.eval()(ids).logits, theirs.eval()(ids).logits)


def test_compute_dtype(path_settings: list[str]) -> None:
    model = load(path_settings, "quantization=nf4", "quantization.compute_dtype=bf16")
    assert {layer.compute_dtype for layer in quantized_layers(model).values()} == {torch.bfloat16}
    model = load(path_settings, "quantization=nf4")
    assert {layer.compute_dtype for layer in quantized_layers(model).values()} == {torch.float32}


def test_a_block_that_does_not_divide_a_row(path_settings: list[str]) -> None:
    says = r"block_size=512: does not divide the 256 inputs of .*; use one of 32, 64, 128, 256"
    with pytest.raises(UserError, match=says):
        load(path_settings, "quantization=nf4", "quantization.block_size=512")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["quantization=nf4", "quantization.block_size=100"], "32, 64, 128, 256, 512, 1024, 2048 or 4096"),
        (["quantization=int8", "quantization.double=true"], "one constant a row"),
        (["quantization=none", "quantization.double=true"], "nothing is quantized"),
        (["quantization=int8", "+quantization.block_size=64"], "has no block_size"),
        (["quantization=int8", "+quantization.compute_dtype=bf16"], "has no block_size or compute_dtype"),
        (["quantization=nf4", "quantization.block_size=null"], "needs one; 64 is usual"),
        (["dtype=fp16", "device=cpu"], "dtype=fp16: the run is on a CPU"),
        (["quantization=nf4", "quantization.compute_dtype=fp16", "device=cpu"], "compute_dtype=fp16: the run is on"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_set_is_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(UserError) as error:
        settings(*overrides)
    (line,) = error.value.problems
    assert says in line


def trained(a: Any, folder: Path, forward: LabelForward | None = None) -> Trainer:
    """A trainer of a tiny model."""
    folder.mkdir(exist_ok=True)
    train, task, method = a.settings.train, a.task, a.settings.method
    batches, checkpoint = task.batches(train.batch_size, 0), folder / "checkpoint.pt"
    forward = forward or a.forward
    data = TrainingData(batches, task.pad, task.validation)
    return Trainer(forward, method, train, data, checkpoint, keep_best=False)


def losses(trainer: Trainer) -> list[float]:
    return [line["loss"] for line in trainer.run(lambda: None, lambda line: None).curve]


@pytest.mark.parametrize("name", FORMATS)
def test_lora_trains_on_every_format_and_leaves_it_alone(path_settings: list[str], name: str, tmp_path: Path) -> None:
    a = adapted([*path_settings, f"quantization={name}", "method=lora", "train.steps=15"])
    layers = quantized_layers(a.model)
    before = {name: plain_weight(layer) for name, layer in layers.items()}
    found = losses(trained(a, tmp_path))
    assert found[-1] < found[0]
    for name, layer in layers.items():
        assert torch.equal(plain_weight(layer), before[name])


def test_optimizers_are_adamw(tmp_path: Path) -> None:
    """Paged 32-bit AdamW is AdamW; 8-bit state changes a weight by little of what a step changes."""
    start = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    gradients = [torch.randn(64, 128, generator=torch.Generator().manual_seed(i)) for i in range(1, 6)]
    ends = {}
    for name in get_args(Train.model_fields["optimizer"].annotation):
        weight = torch.nn.Parameter(start.clone())
        optimizer = make_optimizer(name, [{"params": [weight], "lr": 1e-2}], weight_decay=0.1)
        for gradient in gradients:
            weight.grad = gradient.clone()
            optimizer.step()
        ends[name] = weight.detach()
    assert set(ends) == {"adamw", "paged_adamw", "adamw8bit", "paged_adamw8bit"}
    torch.testing.assert_close(ends["paged_adamw"], ends["adamw"], rtol=1e-5, atol=1e-6)
    moved = (ends["adamw"] - start).norm()
    for name in ("adamw8bit", "paged_adamw8bit"):
        assert 0 < (ends[name] - ends["adamw"]).norm() < 0.1 * moved


def test_fp16_scales_the_loss_and_gives_the_steps_of_fp32(tmp_path: Path) -> None:
    plain, half = adapted(["method=full"]), adapted(["method=full"])
    scaled = trained(half, tmp_path / "fp16", LabelForward(half.model, torch.float16))
    assert scaled.scaler.is_enabled()
    assert not trained(plain, tmp_path / "off").scaler.is_enabled()
    assert losses(scaled) == pytest.approx(losses(trained(plain, tmp_path / "fp32")), rel=5e-3)


def test_a_step_that_overflows_in_fp16_is_left_out(tmp_path: Path) -> None:
    a = adapted(["method=full"])
    trainer = trained(a, tmp_path, LabelForward(a.model, torch.float16))
    trainer.scaler.load_state_dict(trainer.scaler.state_dict() | {"scale": 2.0**60})
    before = [p.detach().clone() for p in trainable(a.model).values()]
    line = trainer._step([a.task.validation[0]])
    assert all(torch.equal(p, q) for p, q in zip(before, trainable(a.model).values(), strict=True))
    assert trainer.scaler.get_scale() == 2.0**59
    assert line["loss"] < 100
    trainer.scaler.load_state_dict(trainer.scaler.state_dict() | {"scale": 1024.0})
    trainer._step([a.task.validation[0]])
    assert not torch.equal(before[0], next(iter(trainable(a.model).values())))


def test_fp16_that_overflows_at_every_scale_has_diverged(tmp_path: Path) -> None:
    a = adapted(["method=full"])
    trainer = trained(a, tmp_path, LabelForward(a.model, torch.float16))
    next(iter(trainable(a.model).values())).data.fill_(torch.inf)
    with pytest.raises(RunEnded, match="loss nan"):
        trainer._step([a.task.validation[0]])


def test_the_report_has_a_row_for_every_format(path_settings: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    small = ["data.size=100", "dtype=fp32", "threads=1", "forgetting.max_tokens=512"]
    quantization.main([*path_settings, *small])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    rows = {cells[0]: cells[1:] for line in lines[1:] if (cells := [c.strip() for c in line.strip("|").split("|")])}
    assert list(rows) == ["fp32", "int8", *FOUR_BIT]
    assert rows["fp32"][:2] == ["32", "0.000"]
    assert rows["fp32"][4] == "0.000%"
    assert rows["nf4"][:2] == ["4", "0.500"]
    assert rows["nf4_dq"][:2] == ["4", "0.127"]
    error = {name: float(cells[4].rstrip("%")) for name, cells in rows.items()}
    # For normal weights NF4 was made (QLoRA, table 2), and eight bits beat four.
    assert error["int8"] < error["nf4"] < error["fp4"]
    assert error["nf4"] == pytest.approx(error["nf4_dq"], rel=0.01)


def test_the_report_refuses_a_format() -> None:
    with pytest.raises(UserError, match="leave it out"):
        quantization.main(["quantization=nf4"])
