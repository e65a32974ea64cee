"""The validation loss by byte: nats of the answers' tokens over ln 2 times their bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.data import Example
from harness.data.splits import by_task
from harness.evaluation.scores import Prediction, score_texts
from harness.prepare.base_model import load_base
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.forward import LabelForward
from harness.results.record import Record
from reports.commands.table import report
from tests.support.command_line import TINY
from tests.support.records import add, key, sweep
from tests.support.tasks import JSONL, chosen, write

ANSWERS = ["yes", "déjà vu", "два", "an answer of some words"]
BYTES = 3 + 9 + 6 + 23
CHARACTERS = 3 + 7 + 3 + 23
"""The tiny model has a token for each character: of an answer those, a space in front, and one that ends it."""
LABELS = CHARACTERS + 2 * len(ANSWERS)


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    for split in ("train", "validation", "test"):
        write(tmp_path / f"{split}.jsonl", [{"q": f"{split} {i}?", "a": a} for i, a in enumerate(ANSWERS)])
    return [*JSONL, f"data.path={tmp_path}", "train.validation_examples=4"]


def test_a_model_that_knows_nothing(given: list[str]) -> None:
    """All tokens are equally likely to it: log2 of the vocabulary's size, in bits, for each."""
    settings = chosen(*given)
    base = load_base(settings)
    base.model.get_output_embeddings().weight.data.zero_()
    task = EncodedTask(settings, base)
    loss = LabelForward(base.model, torch.float32).mean_loss(task.validation)
    size = base.model.config.vocab_size
    assert loss == pytest.approx(math.log(size))
    assert task.validation_bytes == BYTES
    assert task.bits_per_byte(loss) == pytest.approx(LABELS * math.log2(size) / BYTES)


@pytest.mark.parametrize("method", ["lora", "zero_shot"])
def test_a_record_has_it_of_the_run_and_of_the_base(
    method: str, given: list[str], run_point: Callable[..., Record]
) -> None:
    record = run_point(*given, f"method={method}", small=TINY)
    found = record.bits_per_byte
    assert found is not None
    per_nat = LABELS / BYTES / math.log(2)
    assert found.validation == pytest.approx((record.quality["val_loss"] or 0) * per_nat)
    assert found.base_validation == pytest.approx((record.base_quality["val_loss"] or 0) * per_nat)
    assert found.validation_bytes == BYTES
    assert (found.validation == found.base_validation) is (method == "zero_shot")


def test_of_a_conversation_what_the_assistant_says(tmp_path: Path) -> None:
    turns = [("user", "hi"), ("assistant", "hé"), ("user", "and?"), ("assistant", "so")]
    rows = [{"messages": [{"role": r, "content": f"{t}{n}"} for r, t in turns]} for n in range(9)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for loss, size in (("all", 4 + 3), ("last", 3)):
        source = chosen("data=chat", f"data.path={tmp_path / 'chats.jsonl'}", f"data.loss={loss}").data
        (example,) = by_task(source.load().test, 1)
        assert sum(len(text.encode()) for text in source.learned(example)) == size


def test_none_of_an_answer_that_was_cut(given: list[str], run_point: Callable[..., Record]) -> None:
    record = run_point(*given, "method=lora", "train.max_length=30", small=TINY)
    assert record.status == "ok", record.cause
    assert record.bits_per_byte is None
    assert record.null_reasons["bits_per_byte"] == (
        "of 1 validation examples the answer was cut; raise train.max_length"
    )


def test_none_of_a_head(run_point: Callable[..., Record]) -> None:
    record = run_point("data=cuisine", "data.size=200", "method=lora", small=TINY)
    assert record.null_reasons["bits_per_byte"] == "a classification head answers in no text"


def test_texts_without_a_prompt_as_lm_evaluation_harness_has_it() -> None:
    metrics = pytest.importorskip("lm_eval.api.metrics")
    texts, sums = ["three short words", "déjà vu"], [-9.0, -5.5]
    said = [Prediction("", log_likelihood=value, tokens=3) for value in sums]
    found = score_texts(said, [Example("", (text,)) for text in texts]).quality["bits_per_byte"]
    pairs = [(value, len(text.encode())) for value, text in zip(sums, texts, strict=True)]
    assert found == pytest.approx(metrics.bits_per_byte(pairs))


def test_tables_show_it_where_they_are_asked(tmp_path: Path) -> None:
    method = {"name": "lora"}
    section = {"validation": 1.25, "base_validation": 2.5, "validation_bytes": 41}
    add(tmp_path, "lora", None, method, key=key(method), quality={"val_loss": 1.0}, bits_per_byte=section)
    sweep(tmp_path, "lora")
    assert "by byte" not in report(tmp_path, ["s"], "markdown", "methods")
    text = report(tmp_path, ["s"], "markdown", "methods", columns=("row", "validation loss by byte"))
    assert "validation loss by byte [bits/byte]" in text
    assert "1.250" in text
    assert "2.5" not in text
    assert "2.5" in report(tmp_path, ["s"], "csv", "methods", columns=("base_val_bits_per_byte",))
