"""Methods that PEFT does not have, against a second way to compute each: bottlenecks, Delta-LoRA, selective, k-shot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import gelu, relu

from harness.config.contradictions import contradictions
from harness.errors import RunEnded, UserError
from harness.prepare.base_model import DTYPES, load_base
from harness.prepare.batch import Batch
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.forward import LabelForward
from harness.training.optimizer import trainable
from harness.training.precision import to_master_precision
from tests.support.tiny import Adapted, adapted, settings
from tests.support.trainers import losses, never, quiet, trainer

OWN = ["houlsby", "pfeiffer", "parallel_adapter", "delta_lora", "bitfit", "layer_norms", "top_layers"]


def made(method: str, *overrides: str) -> Adapted:
    architecture = settings(f"method={method}").method.facts.architecture
    layers = ["method.layers=1"] if method == "top_layers" else []
    return adapted([f"method={method}", f"model.architecture={architecture}", *layers, *overrides])


def trained(method: str, folder: Path, *overrides: str) -> Adapted:
    a = made(method, "method.lr=0.01", *overrides)
    trainer(a, folder).run(never, quiet)
    a.model.eval()
    return a


def base_of(a: Adapted) -> Any:
    """A fresh base like the one that was adapted."""
    return load_base(a.settings)[0].eval()


def logits(model: Any, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=batch.ids, attention_mask=batch.mask).logits
    return found


@pytest.mark.parametrize("method", OWN)
def test_starts_as_the_base_and_comes_back_bit_for_bit(method: str, tmp_path: Path) -> None:
    start = made(method)
    batch = start.task.validation[0]
    assert torch.equal(logits(base_of(start), batch), logits(start.model.eval(), batch))
    a = trained(method, tmp_path)
    changed = logits(a.model, batch)
    assert not torch.allclose(changed, logits(base_of(a), batch), atol=1e-3)
    assert a.settings.method.save(a.model, tmp_path / "adapter") > 0
    assert torch.equal(logits(a.settings.method.load(base_of(a), tmp_path / "adapter").eval(), batch), changed)


@pytest.mark.parametrize("method", ["houlsby", "pfeiffer", "parallel_adapter", "delta_lora"])
def test_disabled_and_unloaded_it_is_the_base(method: str, tmp_path: Path) -> None:
    a = trained(method, tmp_path)
    batch = a.task.validation[0]
    plain = logits(base_of(a), batch)
    with a.model.disable_adapter():
        assert torch.equal(logits(a.model, batch), plain)
    assert not torch.equal(logits(a.model, batch), plain)
    assert torch.equal(logits(a.model.unload(), batch), plain)


@pytest.mark.parametrize(
    ("method", "places", "activation", "scale"),
    [
        ("houlsby", ["self_attn.o_proj", "mlp.down_proj"], gelu, 1.0),
        ("pfeiffer", ["mlp.down_proj"], relu, 1.0),
        ("parallel_adapter", ["mlp"], relu, 4.0),
    ],
)
def test_bottlenecks_are_their_papers_formula(
    method: str, places: list[str], activation: Callable[[torch.Tensor], torch.Tensor], scale: float, tmp_path: Path
) -> None:
    """The witness is the untouched base with hooks that add the formula; width 64 over 16 makes a bottleneck of 4."""
    a = trained(method, tmp_path)
    base = base_of(a)
    weights = dict(a.model.named_parameters())
    assert len(trainable(a.model)) == 2 * len(places) * 4
    for layer in range(2):
        for place in places:

            def formula(module: Any, given: Any, out: torch.Tensor, at: str = f"{layer}.{place}") -> torch.Tensor:
                def part(name: str) -> torch.Tensor:
                    return weights[f"base_model.model.model.layers.{at}.bottleneck_{name}"]

                h = given[0] if at.endswith(".mlp") else out
                assert part("down.default.weight").shape == (4, 64)
                inner = activation(h @ part("down.default.weight").T + part("down.default.bias"))
                return out + scale * (inner @ part("up.default.weight").T + part("up.default.bias"))

            base.model.layers[layer].get_submodule(place).register_forward_hook(formula)
    batch = a.task.validation[0]
    torch.testing.assert_close(logits(a.model, batch), logits(base, batch), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "bloom", "phi"])
@pytest.mark.parametrize("method", ["houlsby", "parallel_adapter"])
def test_bottlenecks_on_other_architectures(method: str, architecture: str) -> None:
    a = adapted([f"method={method}", f"model.architecture={architecture}"])
    batch = a.task.validation[0]
    assert torch.equal(logits(base_of(a), batch), logits(a.model.eval(), batch))
    places = 2 if method == "houlsby" else 1
    assert sum(p.numel() for p in trainable(a.model).values()) == 2 * places * (2 * 64 * 4 + 64 + 4)


def test_an_mlp_that_is_no_module_is_refused() -> None:
    with pytest.raises(UserError, match="opt is no module of its own; use method=houlsby"):
        adapted(["method=parallel_adapter", "model.architecture=opt"])
    with pytest.raises(UserError, match="beside the MLP alone"):
        adapted(["method=parallel_adapter", "targets=attention"])


class NaiveDeltaLora:
    """The paper's algorithm 1 to the letter: after each step the weight itself is changed by that step's difference."""

    def __init__(self, model: Any, ratio: float, start: int) -> None:
        self.ratio, self.start = ratio, start
        self.layers = [module for module in model.modules() if hasattr(module, "lora_A")]
        self.before = self.products()

    def products(self) -> list[torch.Tensor]:
        with torch.no_grad():
            return [
                layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
                for layer in self.layers
            ]

    def after_step(self, model: Any, step: int) -> None:
        now = self.products()
        if step > self.start:
            for layer, new, old in zip(self.layers, now, self.before, strict=True):
                layer.base_layer.weight.data += self.ratio * (new - old)
        self.before = now


@pytest.mark.parametrize("start", [0, 3])
def test_delta_lora_is_the_papers_algorithm(start: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The witness is PEFT's LoRA with the base's weights really changed, trained on the same batches."""
    common = ["targets=all_linear", "method.rank=4", "method.alpha=8", "method.lr=0.005", "train.steps=8"]
    a = made("delta_lora", *common, "method.ratio=2.0", f"method.start_step={start}")
    witness = adapted(["method=lora", *common])
    naive = NaiveDeltaLora(witness.model, 2.0, start)
    monkeypatch.setattr(
        type(witness.settings.method), "after_step", lambda _, model, step: naive.after_step(model, step)
    )
    stored = {n: p.detach().clone() for n, p in a.model.named_parameters() if not p.requires_grad}
    (tmp_path / "b").mkdir()
    mine, theirs = (trainer(x, folder).run(never, quiet) for x, folder in ((a, tmp_path), (witness, tmp_path / "b")))
    assert losses(mine) == pytest.approx(losses(theirs), abs=1e-5)
    batch = a.task.validation[0]
    torch.testing.assert_close(logits(a.model.eval(), batch), logits(witness.model.eval(), batch), atol=1e-5, rtol=1e-5)
    for name, weight in trainable(a.model).items():
        torch.testing.assert_close(weight, trainable(witness.model)[name], atol=1e-5, rtol=1e-5)
    assert all(torch.equal(stored[n], p) for n, p in a.model.named_parameters() if n in stored)
    merged = a.settings.method.merge(a.model)
    for name, module in merged.named_modules():
        if name.endswith("_proj"):
            expected = witness.model.get_submodule(f"base_model.model.{name}")
            whole = expected.base_layer.weight + expected.get_delta_weight("default")
            torch.testing.assert_close(module.weight, whole, atol=1e-5, rtol=1e-5)


def test_delta_lora_without_start_is_lora(tmp_path: Path) -> None:
    """Before its start step nothing but LoRA is trained."""
    a, b = made("delta_lora", "method.start_step=8"), adapted(["method=lora", "method.lr=1e-3"])
    (tmp_path / "b").mkdir()
    mine, theirs = trainer(a, tmp_path).run(never, quiet), trainer(b, tmp_path / "b").run(never, quiet)
    assert losses(mine) == pytest.approx(losses(theirs), abs=1e-6)


@pytest.mark.parametrize("stop", [2, 5])
def test_delta_lora_goes_on_from_a_checkpoint_to_the_same_bits(stop: int, tmp_path: Path) -> None:
    """Stopped before its start step and after it."""
    whole = made("delta_lora", "method.start_step=3")
    expected = trainer(whole, tmp_path).run(never, quiet)
    (tmp_path / "c").mkdir()
    stopped = trainer(made("delta_lora", "method.start_step=3"), tmp_path / "c")
    with pytest.raises(RunEnded):
        stopped.run(lambda: RunEnded("interrupted", "test") if stopped.state.step == stop else None, quiet)
    other = made("delta_lora", "method.start_step=3")
    assert losses(trainer(other, tmp_path / "c").run(never, quiet)) == losses(expected)
    batch = whole.task.validation[0]
    assert torch.equal(logits(whole.model.eval(), batch), logits(other.model.eval(), batch))


def test_delta_lora_scores_its_best_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step before the start step is taken for the best: a later snapshot would change what it computes."""
    a = made("delta_lora", "method.start_step=3", "eval.score=best", "train.validate_every=1")
    measure, measured = a.forward.mean_loss, []

    def ever_worse(batches: list[Batch]) -> float:
        measured.append(measure(batches))
        return float(len(measured))

    monkeypatch.setattr(a.forward, "mean_loss", ever_worse)
    assert trainer(a, tmp_path).run(never, quiet).best_step == 1
    assert measure(a.task.validation) == measured[0]
    assert measured[0] != measured[-1]


def test_bitfit_without_biases_is_refused() -> None:
    with pytest.raises(UserError, match="llama has no biases to train; use method=layer_norms"):
        adapted(["method=bitfit"])


@pytest.mark.parametrize("architecture", ["gpt2", "opt", "bert"])
def test_bitfit_trains_the_biases_and_nothing_else(architecture: str) -> None:
    data = ["data=cuisine"] if architecture == "bert" else []
    a = adapted(["method=bitfit", f"model.architecture={architecture}", *data])
    names = set(trainable(a.model))
    head = {name for name in names if name.startswith("classifier.")}
    assert names == {name for name, _ in a.model.named_parameters() if name.endswith("bias")} | head
    assert bool(head) == (architecture == "bert")


def test_layer_norms_trains_every_normalization_and_nothing_else() -> None:
    """Llama has two a block and a last one, each with a gain and no bias; GPT-2's have both."""
    for architecture, each in (("llama", 64), ("gpt2", 2 * 64)):
        a = adapted(["method=layer_norms", f"model.architecture={architecture}"])
        assert sum(p.numel() for p in trainable(a.model).values()) == (2 * 2 + 1) * each


def test_top_layers_trains_the_last_blocks_whole() -> None:
    a = made("top_layers")
    block = dict(a.model.model.layers[1].named_parameters())
    assert set(trainable(a.model)) == {f"model.layers.1.{name}" for name in block}
    with pytest.raises(UserError, match=r"method.layers=3: llama has 2 layers"):
        adapted(["method=top_layers", "method.layers=3"])


@pytest.mark.parametrize("method", ["bitfit", "layer_norms", "top_layers"])
def test_selective_in_bf16_trains_in_fp32_and_answers_in_bf16(method: str, tmp_path: Path) -> None:
    a = made(method, "dtype=bf16")
    frozen = {n: p.detach().clone() for n, p in a.model.named_parameters() if not p.requires_grad}
    before = a.forward.mean_loss(a.task.validation)
    trainer(a, tmp_path).run(never, quiet)
    assert a.forward.mean_loss(a.task.validation) < before
    assert all(p.dtype == torch.float32 for p in trainable(a.model).values())
    assert all(torch.equal(frozen[n], p) for n, p in a.model.named_parameters() if n in frozen)


@pytest.mark.parametrize("kind", ["int8", "nf4"])
@pytest.mark.parametrize("method", ["houlsby", "parallel_adapter", "delta_lora", "layer_norms"])
def test_works_on_a_quantized_base(method: str, kind: str, tmp_path: Path) -> None:
    model, tokenizer = load_base(settings("method=zero_shot"))
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    there = ["model=path", f"model.path={tmp_path / 'model'}", f"quantization={kind}"]
    a = adapted([f"method={method}", *there])
    batch = a.task.validation[0]
    plain = base_of(a)
    assert torch.equal(logits(plain, batch), logits(a.model.eval(), batch))
    before = a.forward.mean_loss(a.task.validation)
    trainer(a, tmp_path).run(never, quiet)
    assert a.forward.mean_loss(a.task.validation) < before
    a.settings.method.save(a.model, tmp_path / "adapter")
    loaded = a.settings.method.load(base_of(a), tmp_path / "adapter").eval()
    torch.testing.assert_close(logits(loaded, batch), logits(a.model.eval(), batch), atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", ["bitfit", "top_layers"])
def test_what_would_train_quantized_weights_is_refused(method: str) -> None:
    with pytest.raises(UserError, match="quantized weights cannot be trained"):
        settings(f"method={method}", "quantization=nf4")
    assert contradictions(settings("method=layer_norms", "quantization=nf4")) == []


def few_shot(*overrides: str) -> tuple[EncodedTask, Any]:
    chosen = settings("method=few_shot", "model.context=4096", *overrides)
    base = load_base(chosen)
    return EncodedTask(chosen, base), base


def test_few_shot_puts_solved_training_examples_first() -> None:
    task, base = few_shot("method.shots=3")
    bare = EncodedTask(task.settings, base, shots=0)
    texts = base[1].batch_decode(list(task.prompts.values()))
    own = base[1].batch_decode(list(bare.prompts.values()))
    solved = {f"{task.settings.data.render(e)} {e.references[0]}" for e in task.train}
    for text, prompt in zip(texts, own, strict=True):
        *shown, last = text.split("<unknown>")  # what the tiny model's tokenizer makes of a blank line
        assert last == prompt
        assert len(set(shown)) == 3
        assert set(shown) <= solved
    assert few_shot("method.shots=3")[0].prompts == task.prompts
    assert few_shot("method.shots=3", "seed=1")[0].prompts != task.prompts


def test_few_shot_that_does_not_fit_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"lower method\.shots, or lower eval\.max_new_tokens"):
        few_shot("method.shots=60")
    with pytest.raises(UserError, match=r"method.shots=1000: the training split has \d+ examples; give at most that"):
        few_shot("method.shots=1000")


def test_selective_weights_of_another_base_are_refused(tmp_path: Path) -> None:
    a = made("layer_norms")
    a.settings.method.save(a.model, tmp_path)
    other = load_base(settings("method=zero_shot", "model.hidden_size=128"))[0]
    with pytest.raises(UserError, match="use its own base"):
        a.settings.method.load(other, tmp_path)


def test_master_precision_leaves_the_frozen_weights_of_a_norm_in_one_dtype() -> None:
    """torch's LayerNorm refuses a gain and a bias of two dtypes."""
    a = made("bitfit", "dtype=bf16")
    to_master_precision(a.model)
    norm = a.model.model.decoder.layers[0].self_attn_layer_norm
    assert norm.weight.dtype == norm.bias.dtype == torch.float32
    assert LabelForward(a.model, DTYPES["bf16"]).mean_loss(a.task.validation) > 0
