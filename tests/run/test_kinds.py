"""Three kinds of model: what is scored, and full fine-tuning, LoRA and the untouched base end to end."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from harness.commands._finished import finished_run
from harness.commands.generate import answer_all
from harness.errors import UserError
from harness.evaluation.predict import predict
from harness.metrics.classes import accuracy, macro_f1
from harness.places import CONF
from harness.prepare.base_model import load_base
from harness.prepare.batch import Encoded, collate
from harness.prepare.encoded_task import EncodedTask
from harness.results.lines import read_lines
from harness.results.record import Record
from harness.training.optimizer import trainable
from harness.training.precision import to_deployed_precision
from tests.support.tiny import METHODS, Adapted, adapted, settings
from tests.support.trainers import losses, never, quiet, trainer

T5 = ["model=tiny_random", "model.architecture=t5"]
BERT = ["model=tiny_random", "model.architecture=bert", "data=cuisine"]
LLAMA = ["model=tiny_random", "data=cuisine"]
NEEDS = {
    ("bitfit", "classification, causal"): ["model.architecture=gpt2"],  # it has biases
    ("few_shot", "seq2seq"): ["model.context=4096"],
}
"""What a method needs of the tiny models."""
KINDS = {"seq2seq": T5, "classification": BERT, "classification, causal": LLAMA}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_loss_equals_that_of_transformers(kind: str, method: str) -> None:
    """The witness is the model's own loss, given labels: it shifts, masks and averages by itself."""
    a = adapted([*KINDS[kind], f"method={method}"])
    assert a.task.kind == kind.split(",")[0]
    batch = collate(next(a.task.batches(4, 0)), a.task.pad)
    a.model.eval()
    with torch.no_grad():
        expected = a.model(**batch.inputs()).loss
        got = a.forward.loss_sum(batch) / len(batch.targets)
    assert got.item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_training_learns(kind: str, tmp_path: Path) -> None:
    a = adapted([*KINDS[kind], "method=lora", "train.steps=40", "method.lr=0.005"])
    few = list(itertools.islice(a.task.batches(4, 0), 4))
    made = trainer(a, tmp_path)
    made.batches = itertools.cycle(few)
    curve = losses(made.run(never, quiet))
    assert sum(curve[-4:]) < 0.9 * sum(curve[:4])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_works_on_the_kinds_that_it_names(method: str, kind: str) -> None:
    """Where it does: its parameters get a gradient, the loss is transformers' own, and the batch size tells nothing."""
    with initialize_config_dir(str(CONF), version_base=None):
        facts = compose("config", [f"method={method}"]).method.facts
    needs = NEEDS.get((method, kind), [])
    overrides = [*KINDS[kind], f"method={method}", *needs]
    if kind.split(",")[0] not in facts.kinds:
        with pytest.raises(UserError):
            adapted(overrides)
        return
    works(overrides)


def works(overrides: list[str]) -> None:
    a = adapted(overrides)
    batch = collate(next(a.task.batches(3, 0)), a.task.pad)
    if a.settings.method.trains:
        a.forward.loss_sum(batch).backward()
        heads = ("modules_to_save", "score", "classifier")
        own = {n: p for n, p in trainable(a.model).items() if not any(head in n for head in heads)}
        assert any(p.grad is not None and p.grad.any() for p in own.values())
    a.model.eval()
    with torch.no_grad():
        expected = a.model(**batch.inputs()).loss.item()
        assert a.forward.loss_sum(batch).item() / len(batch.targets) == pytest.approx(expected, abs=1e-5)
        alone = [a.forward.loss_sum(collate([e], a.task.pad)).item() for e in encoded(a)]
        together = a.forward.loss_sum(collate(encoded(a), a.task.pad)).item()
    assert together == pytest.approx(sum(alone), rel=1e-5)
    found = []
    for size in (1, 3):
        a.task.settings = settings(*overrides, f"eval.batch_size={size}")
        made = predict(a.task, a.settings.method.generate, a.model, a.forward, lambda done: None)
        found.append([prediction.text for prediction in made])
    assert found[0] == found[1]


def encoded(a: Adapted) -> list[Encoded]:
    """Three training examples of unlike length."""
    few = sorted(itertools.chain(*itertools.islice(a.task.batches(4, 0), 3)), key=len)
    return [few[0], few[5], few[-1]]


def in_bf16() -> list[tuple[str, str]]:
    """Every method with every kind of model that it names."""
    facts = {method: settings(f"method={method}").method.facts for method in METHODS}
    return [(m, kind) for kind in ("causal", *KINDS) for m in METHODS if kind.split(",")[0] in facts[m].kinds]


@pytest.mark.parametrize(("method", "kind"), in_bf16())
def test_trains_and_answers_in_bf16(method: str, kind: str) -> None:
    """Where frozen weights are bf16 the trained ones are fp32, and what they give together is near what fp32 gives."""
    architecture = settings(f"method={method}").method.facts.architecture
    given = KINDS.get(kind, [f"model.architecture={architecture}", "model.context=4096"])
    given = [*given, f"method={method}", *NEEDS.get((method, kind), [])]
    a = adapted([*given, "dtype=bf16"])
    batch = collate(next(a.task.batches(3, 0)), a.task.pad)
    loss = a.forward.loss_sum(batch)
    assert loss.item() == pytest.approx(adapted(given).forward.loss_sum(batch).item(), rel=0.02)
    if a.settings.method.trains:
        loss.backward()
        assert any(p.grad is not None and p.grad.dtype == torch.float32 for p in trainable(a.model).values())
    if a.settings.method.trains_base:
        to_deployed_precision(a.model, torch.bfloat16)
    predict(a.task, a.settings.method.generate, a.model.eval(), a.forward, lambda done: None)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["seq2seq", "classification"])
def test_end_to_end(kind: str, dtype: str, run_point: Callable[..., Record]) -> None:
    """Full fine-tuning, LoRA and the zero-shot row, each by the same way as on the command line."""
    for method in ("zero_shot", "full", "lora"):
        record = run_point(*KINDS[kind], f"method={method}", f"dtype={dtype}")
        assert record.status == "ok", record.cause
        names = {"accuracy", "macro_f1"} if kind == "classification" else {"bleu", "rougeL", "ser"}
        assert names | {"val_loss"} <= set(record.quality)
        assert record.forgetting is None
        assert "forgetting" in record.null_reasons


def test_a_swapped_adapter_answers_as_its_run_did(run_point: Callable[..., Record], tmp_path: Path) -> None:
    """A sequence-to-sequence model reads whole texts, in the command as in the run."""
    record = run_point(*T5, "method=lora", "method.lr=0.01")
    run = finished_run(record.id, tmp_path / "results")
    task = EncodedTask(run.settings, load_base(run.settings))
    (answers,) = answer_all([run], [example.source for example in task.test])
    assert answers == [line["prediction"] for line in read_lines(run.folder / "predictions.jsonl")]


def test_a_method_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="seq2seq"):
        adapted([*T5, "method=prefix_tuning"])
    with pytest.raises(UserError, match="classification head"):
        settings(*BERT, "method=prompt_tuning")


def test_scores_of_classes() -> None:
    """a: TP 1, FP 1, FN 1, so 1/2; b: TP 1, FN 1, so 2/3; c: FP 1, so 0."""
    predicted, expected = ["a", "a", "b", "c"], ["a", "b", "b", "a"]
    assert macro_f1(predicted, expected) == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert accuracy(predicted, expected) == 0.5
