"""Three kinds of model: what is scored, and full fine-tuning, LoRA and the untouched base end to end."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sklearn.metrics import f1_score
from test_training import losses, never, quiet, trainer
from tiny import adapted, settings

from harness.data.batching import collate
from harness.errors import UserError
from harness.metrics.classes import accuracy, macro_f1
from harness.results import Record

T5 = ["model=tiny_random", "model.architecture=t5"]
BERT = ["model=tiny_random", "model.architecture=bert", "data=cuisine"]
LLAMA = ["model=tiny_random", "data=cuisine"]
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


def test_predictions_do_not_depend_on_the_batch_size() -> None:
    for overrides in KINDS.values():
        a = adapted([*overrides, "method=lora"])
        found = []
        for size in (1, 3):
            a.task.settings = settings(*overrides, "method=lora", f"eval.batch_size={size}")
            found.append(a.task.predict(a.settings.method.generate, a.model, a.forward, lambda done: None))
        assert found[0] == found[1], overrides


@pytest.mark.parametrize("kind", ["seq2seq", "classification"])
def test_end_to_end(kind: str, run_point: Callable[..., Record]) -> None:
    """Full fine-tuning, LoRA and the zero-shot row, each by the same way as on the command line."""
    for method in ("zero_shot", "full", "lora"):
        record = run_point(*KINDS[kind], f"method={method}")
        assert record.status == "ok", record.cause
        names = {"accuracy", "macro_f1"} if kind == "classification" else {"bleu", "rougeL", "ser"}
        assert names | {"val_loss"} <= set(record.quality)
        assert record.forgetting is None
        assert "forgetting" in record.null_reasons


def test_a_method_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="seq2seq"):
        adapted([*T5, "method=prompt_tuning"])
    with pytest.raises(UserError, match="classification head"):
        settings(*BERT, "method=prompt_tuning")


def test_macro_f1_is_that_of_scikit_learn() -> None:
    draw = random.Random(0)
    for _ in range(20):
        predicted, expected = ([draw.choice("abcd") for _ in range(15)] for _ in range(2))
        assert macro_f1(predicted, expected) == pytest.approx(f1_score(expected, predicted, average="macro"))
    assert accuracy(["a", "b"], ["a", "c"]) == 0.5
