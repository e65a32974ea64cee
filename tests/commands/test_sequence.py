"""A sequence of tasks from end to end: its stages are runs, and each starts from the model before it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.commands import sequence
from harness.errors import UserError
from harness.metrics.tools import continual
from harness.models import hash_folder
from harness.places import ROOT
from harness.results.folder import read_record
from harness.results.record import Record
from tests.support.command_line import TINY
from tests.support.records import run_folder

FIRST, SECOND = ("data=restaurants", "data.size=100"), ("data=restaurants", "data.size=100", "data.seed=7")
CUISINES = ("data=cuisine", "data.size=100"), ("data=cuisine", "data.size=120", "data.seed=7")


def plan(results: Path, *methods: str, **changed: object) -> sequence.Plan:
    common = (*TINY, "dtype=fp32", f"results={results}")
    given = {"stages": (FIRST, SECOND), "joint": None, "scores": (None, None)} | changed
    return sequence.Plan("tiny", common, methods=tuple(tuple(m.split()) for m in methods), **given)  # type: ignore[arg-type]


def records(results: Path) -> list[Record]:
    return [read_record(path) for path in sorted(results.glob("runs/*/record.json"))]


def scored(results: Path, start: str, data: Record) -> Record:
    """The zero-shot run of the model that the run `start` kept, on the data of another run."""
    (found,) = (
        record
        for record in records(results)
        if record.method == "zero_shot"
        and record.key["model"]["name"] == start
        and record.key["data"] == data.key["data"]
    )
    return found


def test_two_tasks_in_turn_and_at_once(
    worker: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = plan(tmp_path, "method=full method.lr=0.01", "method=lora method.lr=0.05", joint=SECOND)
    assert sequence.check(chosen) == tmp_path
    found = sequence.run(chosen)
    assert [row.label for row in found.rows] == ["full", "lora r=8"]
    assert found.metrics == ["bleu", "bleu"]
    assert found.tasks == [" ".join(FIRST), " ".join(SECOND)]
    for row in found.rows:
        first, second = (read_record(run_folder(tmp_path, run) / "record.json") for run in row.runs)
        kept = run_folder(tmp_path, first.id) / "model"
        assert second.key["model"] | {"folder_sha256": hash_folder(kept)} == second.key["model"]
        # What the model of a stage scores is what its run scored before the adapter was merged.
        for stage in (first, second):
            own = scored(tmp_path, stage.id, stage)
            assert own.quality["val_loss"] == pytest.approx(stage.quality["val_loss"], abs=1e-4)
        # The base of the second stage is that model, and it is not the one that the first stage began with.
        before = scored(tmp_path, first.id, second)
        assert second.base_quality["val_loss"] == before.quality["val_loss"]
        assert abs(second.base_quality["val_loss"] - first.base_quality["val_loss"]) > 0.01  # type: ignore[operator]
        assert row.scores[0][1] == before.quality["bleu"]
        assert row.joint is not None
    text = sequence.render(found)
    full = found.rows[0].scores
    assert f"| {continual.average_forgetting(full):.3f} |".replace(" ", "") in text.replace(" ", "")
    assert "| all at once" in text
    assert "lora r=8, all at once" in text
    with pytest.raises(UserError, match=r"--score chrf: .* has no such score; choose from: bleu, "):
        sequence.run(replace(chosen, scores=("chrf", None)))
    # The same on the command line trains nothing, prints the same and keeps it.
    started = {record.id: record.started for record in records(tmp_path)}
    stages = [part for stage in chosen.stages for part in ("--stage", " ".join(stage))]
    methods = [part for method in chosen.methods for part in ("--method", " ".join(method))]
    sequence.main([*chosen.common, *stages, *methods, "--joint", " ".join(SECOND)])
    assert capsys.readouterr().out == text + "\n"
    kept = json.loads((tmp_path / "sequences/sequence.json").read_text())
    assert [row["scores"] for row in kept["rows"]] == [row.scores for row in found.rows]
    assert {record.id: record.started for record in records(tmp_path)} == started


def test_a_classification_head_goes_along(worker: None, tmp_path: Path) -> None:
    """One set of classes, one head: both tasks are scored by accuracy, before and after."""
    found = sequence.run(plan(tmp_path, "method=lora", stages=CUISINES, scores=("accuracy", "macro_f1")))
    assert found.metrics == ["accuracy", "macro_f1"]
    (row,) = found.rows
    for run, scores in zip(row.runs, row.scores, strict=True):
        for task, metric, score in zip(row.runs, found.metrics, scores, strict=True):
            data = read_record(run_folder(tmp_path, task) / "record.json")
            assert scored(tmp_path, run, data).quality[metric] == score
    # An average over accuracy and F1 would have no unit.
    (line,) = sequence.summary(found, row)
    assert line["average score"] == "—"
    assert line["average forgetting"] == f"{row.scores[0][0] - row.scores[1][0]:.3f}"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"stages": (FIRST,)}, "at least twice"),
        ({"stages": (FIRST, ("data=cuisine", "data.size=100"))}, "one set of classes"),
        ({"stages": (FIRST, ("data=restaurant",))}, "did you mean restaurants"),
        ({"methods": (("method=prefix_tuning",),)}, "cannot be merged"),
        ({"methods": (("method=zero_shot",),)}, "cannot be merged"),
        ({"methods": (("method=lora", "quantization=int8"),)}, "plain weights"),
        ({"common": (*TINY, "method.rank=4")}, "give it as --method"),
    ],
)
def test_plans_that_cannot_work(changed: dict[str, object], says: str, tmp_path: Path) -> None:
    given = vars(plan(tmp_path, "method=lora")) | changed
    with pytest.raises(UserError, match=says):
        sequence.check(sequence.Plan(**given))  # type: ignore[arg-type]


def test_one_stage_on_the_command_line() -> None:
    command = [sys.executable, "-m", "harness", "sequence", *TINY, "--stage", " ".join(FIRST)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "error: --stage: one task is no sequence; give it at least twice\n"
