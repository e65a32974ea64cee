"""Models that give NaN or infinities: the run has diverged or its base is broken, and every file can be read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import metrics
from harness.config.compose import compose_settings
from harness.data import Example
from harness.errors import NotFinite
from harness.evaluation.answers import classify, write_answers
from harness.evaluation.general_text import text_loss, windows
from harness.evaluation.likelihood import log_likelihoods
from harness.evaluation.scores import score
from harness.metrics import Score
from harness.prepare.base_model import LoadedModel
from harness.prepare.batch import Encoded
from harness.results.folder import UnreadableRecord, read_record, write_record
from harness.results.lines import read_lines, write_lines
from harness.results.record import Record
from harness.results.sections import Forgetting, Machine
from harness.run.base_scores import BaseFolders
from tests.support.command_line import SMALL, Harness
from tests.support.records import add, run_folder
from tests.support.tiny import Adapted, adapted

HUGE = ("method.lr=1e25", "train.steps=1", "train.warmup_steps=0")
"""The first loss and gradient are numbers, and what the only step makes of the weights is none."""


def valid(text: str) -> Any:
    """A JSON value, of which NaN and Infinity are none (RFC 8259)."""

    def refused(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refused)


def ended(results: Path, run: str) -> Record:
    """A run's record, every file beside it being valid JSON too."""
    folder = run_folder(results, run)
    for path in folder.glob("*.json*"):
        for text in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            valid(text)
    assert not list(folder.glob("record.unreadable*"))
    return read_record(folder / "record.json")


@pytest.mark.parametrize("more", [(), ("eval.score=best",)])
def test_weights_that_the_last_step_breaks(
    run_point: Callable[..., Record], tmp_path: Path, more: tuple[str, ...]
) -> None:
    for _ in range(2):  # nothing is in the way of trying again
        record = run_point(*HUGE, *more)
        assert ended(tmp_path / "results", record.id) == record
        assert (record.status, record.step) == ("diverged", 1)
        assert record.cause == "validation loss nan after step 1"


def broken(folder: Path, weight: float) -> Path:
    """A base of which every token's score is this."""
    a = adapted(["method=zero_shot"])
    a.model.get_output_embeddings().weight.data.fill_(weight)
    a.model.save_pretrained(folder)
    a.tokenizer.save_pretrained(folder)
    return folder


def test_a_broken_base_is_named_and_the_sweep_goes_on(harness: Harness, tmp_path: Path) -> None:
    bases = [broken(tmp_path / "nan", math.nan), broken(tmp_path / "whole", 0.0)]
    given = ["method=zero_shot", "model=path"]
    result = harness("-m", *given, f"model.path={','.join(map(str, bases))}")
    assert result.returncode == 1
    first, second = sorted(harness.records().values(), key=lambda record: record.status)
    assert (first.status, first.user_error, second.status) == ("error", True, "ok")
    cause = ended(harness.results, first.id).cause or ""
    assert cause.startswith("the base model, which nothing has trained: the largest logit while generating is nan")
    # What every other run of this base would be compared with has not been kept.
    kept = [BaseFolders.of(compose_settings([*SMALL, *given, f"model.path={base}"])).quality for base in bases]
    assert [folder.exists() for folder in kept] == [False, True]


class Breaks:
    """A model whose logits are `value` for one token from its `call`-th forward pass on."""

    def __init__(self, a: Adapted, value: float, call: int) -> None:
        self.left, self.value = call, value
        head = getattr(a.model, "score", None) or a.model.get_output_embeddings()
        head.register_forward_hook(self)

    def __call__(self, _module: Any, _args: Any, logits: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left >= 0:
            return logits
        return logits.index_fill(-1, torch.tensor([3 % logits.shape[-1]]), self.value)


def written(a: Adapted) -> Sequence[str]:
    chosen = a.settings.eval.model_copy(update={"batch_size": 2})
    return write_answers(
        a.settings.method.generate, LoadedModel(a.model, a.tokenizer), [*a.task.prompts.values()], chosen
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("call", [0, 5, 20])
def test_logits_that_become_none_while_generating(value: float, call: int) -> None:
    """In the first token, in a later one, in a later batch."""
    a = adapted(["method=lora"])
    Breaks(a, value, call)
    with pytest.raises(NotFinite, match=r"the largest logit while generating is (nan|inf)"):
        written(a)


def test_a_token_that_is_never_said_is_no_fault() -> None:
    a = adapted(["method=lora"])
    Breaks(a, -math.inf, 0)
    assert len(written(a)) == 4


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_likelihoods_classes_and_general_text(value: float) -> None:
    a = adapted(["method=lora"])
    Breaks(a, value, 1)
    examples = [Encoded((5 + n, 6, 7, 8), scored_from=2) for n in range(3)]
    with pytest.raises(NotFinite, match="a log-likelihood is nan"):
        log_likelihoods(a.forward, examples, 1, a.task.pad, "cpu")
    with pytest.raises(NotFinite, match="the loss on general text is nan"):
        text_loss(a.forward, windows(a.model, a.tokenizer, a.settings.forgetting), 16, keep=None, base=None)
    a = adapted(["method=lora", "data=cuisine", "data.size=100"])
    Breaks(a, value, 0)
    with pytest.raises(NotFinite, match="a class's probability is nan"):
        classify(a.forward, [*a.task.validation], a.settings.data.head_classes or ())


def test_a_scorer_that_gives_no_number_is_null_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A scorer's own NaN says nothing of the model."""
    found = {"odd": Score(math.nan, "odd|1", examples=(1.0, math.nan)), "even": Score(2.0, "even|1")}
    monkeypatch.setattr(metrics, "compute", lambda *_: found)
    examples = [Example("a", ("b",)), Example("c", ("d",))]
    scores = score(examples, ["b", "d"], ["odd"])
    assert scores.quality == {"odd": None, "even": 2.0}
    assert scores.reasons == {"odd": "its scorer gave nan"}
    write_lines(tmp_path / "predictions.jsonl", scores.lines)
    lines = [valid(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [line["odd"] for line in lines] == [1.0, None]
    assert read_lines(tmp_path / "predictions.jsonl")[0]["prediction"] == "b"


FORGETTING: dict[str, Any] = {
    **{"text": "t", "tokens": 2, "loss_before": 1.0, "loss_after": 2.0, "compared_tokens": 2, "kl": 0.5},
    **{"panel_before": 0.5, "panel_after": 0.5, "panel_by_task": {"all": (0.5, 0.5)}},
}
MACHINE: dict[str, Any] = {
    "seconds": 1.0,
    "gemm_flops_before": 1.0,
    "gemm_flops_after": 1.0,
    "drift": 0.0,
    "cores": 1,
    "noisy": [],
}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"quality": {"val_loss": None, "bleu": 1.0}}, "diverged", "quality.val_loss"),
        ({"quality": {"val_loss": 1.0, "bleu": None}}, "ok", "quality.bleu"),
        ({"base_quality": {"val_loss": None}}, "ok", "base_quality.val_loss"),
        ({"seconds": {"total": None}}, "ok", "seconds"),
        ({"baselines": {"join_slots": None}}, "ok", "baselines"),
        ({"learning_rate": None}, "ok", "learning_rate"),
        ({"forgetting": Forgetting(**FORGETTING), "at": "kl"}, "diverged", "forgetting"),
        ({"forgetting": Forgetting(**FORGETTING), "at": "panel_by_task"}, "diverged", "forgetting"),
        ({"machine": Machine(**MACHINE), "at": "drift"}, "ok", "machine"),
    ],
)
def test_whatever_a_record_holds_can_be_read_again(
    tmp_path: Path, number: float, fields: dict[str, Any], status: str, reason: str
) -> None:
    fields = dict(fields)
    if at := fields.pop("at", None):
        ((name, section),) = fields.items()
        bad = {"all": (0.5, number)} if at == "panel_by_task" else number
        fields[name] = section.model_copy(update={at: bad})
    else:
        ((name, value),) = fields.items()
        fields[name] = number if value is None else {k: number if v is None else v for k, v in value.items()}
    record = add(tmp_path, "lora", None).model_copy(update=fields)
    path = write_record(tmp_path, record)
    valid(path.read_text())
    found = read_record(path)
    assert found.status == status
    assert (found.cause is None) == (status == "ok")
    assert reason in found.null_reasons
    left = found.quality.get("bleu"), found.quality.get("val_loss")
    assert all(value is None or math.isfinite(value) for value in left)


def test_a_record_that_cannot_be_read_back_does_not_replace_the_one_there(tmp_path: Path) -> None:
    record = add(tmp_path, "lora", None)
    path = run_folder(tmp_path, "lora") / "record.json"
    before = path.read_bytes()
    with pytest.raises(UnreadableRecord):
        write_record(tmp_path, record.model_copy(update={"step": "many"}))
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["record.json"]
