"""A sweep that is tuned by a score of the validation examples, and settings that have an end."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.launch.tuned_row import TunedRow
from harness.results.folder import read_record
from harness.results.sweep_files import read_sweep, write_sweep
from reports.commands.table import report
from reports.figures import tuning
from reports.figures._data import data_of
from reports.read.runs import load_sweep
from tests.support.command_line import Harness
from tests.support.tiny import settings

CLASSES = ("data=cuisine", "model.architecture=bert", "data.size=300", "train.steps=10", "train.warmup_steps=1")
TUNED = (*CLASSES, "method=full", "method.lr=0.003", "tune=lr", "tune.by=accuracy", "tune.default=false")
GRID = ("tune.sampler=grid", "tune.points=3", "tune.extend=0", "tune.per_decade=1")


def test_a_sweep_is_tuned_by_a_score_of_validation_and_says_so(harness: Harness) -> None:
    result = harness(*TUNED, *GRID, "seed=0", "hydra.sweeper.name=t")
    assert result.returncode == 0, result.stderr
    records = [read_record(path) for path in harness.results.glob("trials/*/record.json")]
    tried = {record.learning_rate or 0: record for record in records}
    assert all(record.quality.keys() == {"val_loss", "accuracy"} for record in tried.values())
    accuracies = {rate: record.quality["accuracy"] or 0 for rate, record in tried.items()}
    own = sorted(tried)[1]
    best = min(tried, key=lambda rate: (-accuracies[rate], rate != own, rate))
    assert f"method.lr={best!r}" in result.stderr
    assert f"accuracy {accuracies[best]:.4g}, 3 trials" in result.stderr
    sweep = load_sweep(harness.results, "t")
    assert {(run.tuned.by, run.tuned.value) for run in sweep.runs if run.tuned} == {("accuracy", best)}
    ids = {settings(*CLASSES[:2], "method=full", f"method.lr={best!r}", "tune=lr", by).run_id()
           for by in ("tune.by=accuracy", "tune.by=val_loss")}  # fmt: skip
    assert len(ids) == 1, "how a row was tuned is no part of what its runs are"

    said = "chosen for each row by accuracy on validation examples"
    assert said in report(harness.results, ["t"], "markdown", "tuned")
    assert said in report(harness.results, ["t"], "markdown", "methods")
    figure = tuning.draw(data_of(sweep))
    left, middle, _ = figure.axes
    assert middle.get_ylabel() == "accuracy, validation examples"
    (line,) = [line for line in middle.lines if line.get_gid() == "points"]
    assert list(line.get_ydata()) == [accuracies[rate] for rate in sorted(accuracies)]
    (loss,) = [line for line in left.lines if line.get_gid() == "points"]
    assert list(loss.get_ydata()) == [tried[rate].quality["val_loss"] for rate in sorted(tried)]


def test_values_that_a_setting_may_not_have_are_left_out() -> None:
    """A dropout is less than 1."""

    def bound(dropout: str, *tune: str) -> tuple[str, range]:
        given = ("method=lora", dropout)
        chosen = settings(*given, "tune=lr", "tune.setting=method.dropout", *tune)
        row = TunedRow(given, chosen, chosen.method.model_dump()["dropout"], "lower")
        return row.bound(lambda point: settings(*point)), row.allowed

    told, places = bound("method.dropout=0.1")
    assert places == range(-9, 4), "0.562 at 3; 1 at 4"
    assert told.startswith("lora r=8: values above 0.562 are left out (method.dropout=1.0: ")
    with pytest.raises(UserError, match=r"method\.dropout=1\.6"):
        bound("method.dropout=0.9", "tune.points=2", "tune.extend=0")


def test_of_a_row_that_was_tuned_by_two_scores_tables_have_the_later_search(tmp_path: Path) -> None:
    """However many trials the earlier one had."""
    how = {"row": "method=lora", "setting": "method.lr", "own": 0.1, "others": [], "edge": False, "default": False}
    how |= {"at_own": False, "sampler": "grid"}
    for day, (by, value, trials) in enumerate([("val_loss", 0.2, 5), ("bleu", 0.3, 2), ("bleu", 0.4, 3)], 1):
        chosen = {"by": by, "value": value, "trials": list("abcde")[:trials], "searched": f"2026-01-0{day}"}
        run = {"id": f"lora-{value}", "label": "lora", "overrides": "", "tuned": how | chosen}
        write_sweep(tmp_path, "t", "Q?", [run])
        assert [run["id"] for run in read_sweep([tmp_path], "t")["runs"]] == [f"lora-{value}"]
