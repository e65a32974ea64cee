"""docs/tracking.md on Weights & Biases, from an installed wheel and without an account."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.results.folder import read_record
from tests.support.installed import FAST, ended, lines, words_of
from tests.support.offline_wandb import records, told

SMALL = tuple(word for word in FAST if word != "tracker=none")
SWEEP, RUN = lines("tracking.md", "python -m harness ")


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is logged in."""
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def test_a_sweep_is_offline_as_it_was_asked_for(said: Callable[..., str], tmp_path: Path) -> None:
    assert "+sweep=quickstart " in SWEEP
    said(SWEEP.replace("quickstart", "tiny"), *SMALL)
    results = tmp_path / "results"
    for path in results.glob("runs/*/record.json"):
        record = read_record(path)
        assert record.warnings == []
        run, summary, history = told(results, record.id)
        assert (run.entity, run.project, run.run_group) == ("my-team", "adapters", "november")
        assert run.tags == [record.method, "restaurants", "tiny_random", "paper"]
        assert run.display_name == f"{record.label} {record.id[-6:]}"
        assert (summary["status"], summary["quality"]) == ("ok", record.quality)
        assert len([line for line in history if "train/loss" in line]) == (record.step or 0)
    (report,) = results.glob("wandb/offline-run-*/run-sweep-*.wandb")
    run, _, _ = told(results, report.stem.removeprefix("run-"))
    assert (run.entity, run.project, run.run_group, run.job_type) == ("my-team", "adapters", "november", "report")


def test_online_without_a_login_says_so_in_a_line_and_goes_on(installed: Path, tmp_path: Path) -> None:
    """The run that logs all that there is on request."""
    words = words_of(RUN)
    told_user = ended(installed / words[0], *words[1:], *SMALL, "tracker.mode=online", cwd=tmp_path).stderr
    results = tmp_path / "results"
    (path,) = results.glob("runs/*/record.json")
    record = read_record(path)
    (warning,) = record.warnings
    (line,) = (line for line in told_user.splitlines() if "W&B" in line or "wandb" in line)
    assert line == f"lora r=8: {warning}"
    assert "wandb login" in line
    assert "wandb sync" in line
    run, summary, _ = told(results, record.id)
    assert run.display_name == "lora r=8, seed 0"
    assert summary["quality"] == record.quality
    (table,) = results.glob(f"wandb/offline-run-*{record.id}/files/media/table/predictions_*.table.json")
    content = json.loads(table.read_text())
    answers = map(json.loads, (path.parent / "predictions.jsonl").read_text().splitlines())
    columns = ["index", "id", "input", "references", "prediction"]
    assert (content["columns"], [row[4] for row in content["data"]]) == (
        columns,
        [row["prediction"] for row in answers],
    )
    (log,) = results.glob(f"wandb/offline-run-*/run-{record.id}.wandb")
    wanted = [each.request.log_artifact.artifact for each in records(log) if each.request.HasField("log_artifact")]
    wanted += [each.artifact for each in records(log) if each.WhichOneof("record_type") == "artifact"]
    (adapter,) = (each for each in wanted if each.type == "model")
    kept = {file.path for file in adapter.manifest.contents}
    assert kept == {
        file.relative_to(path.parent / "adapter").as_posix()
        for file in (path.parent / "adapter").rglob("*")
        if file.is_file()
    }
