"""What Weights & Biases is told, read back from the file of an offline run, and that its failures lose no run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.places import ROOT, SWEEPS
from harness.run.tracking import log_sweep
from harness.settings import Tracker
from reports.commands.track import run_of
from reports.read.runs import load_sweep
from tests.support.command_line import TINY, Harness
from tests.support.offline_wandb import records, told

LOGGED = (*(override for override in TINY if override != "tracker=none"), "data.size=100", "tracker=wandb")


def test_an_offline_run_holds_all_that_the_record_does(harness: Harness) -> None:
    result = harness("+sweep=tiny", "tracker=wandb", "tracker.mode=offline", small=())
    assert result.returncode == 0, result.stderr
    (record,) = (record for record in harness.records().values() if record.method == "lora")
    assert record.warnings == []
    run, summary, history = told(harness.results, record.id)
    assert run.run_id == record.id
    assert run.run_group == "tiny"
    assert "lora" in run.tags
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert {name: config[name] for name in record.key} == record.key
    assert summary["quality"] == record.quality
    assert summary["status"] == "ok"
    assert summary["parameters"]["trainable"] == record.parameters.trainable  # type: ignore[union-attr]

    curve = (harness.results / "runs" / record.id / "curve.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in curve]
    assert [line["train/loss"] for line in history if "train/loss" in line] == losses

    (table,) = harness.results.glob(f"wandb/offline-run-*{record.id}/files/media/table/predictions_*.table.json")
    lines = (harness.results / "runs" / record.id / "predictions.jsonl").read_text().splitlines()
    rows = [[line["index"], line["id"], line["prediction"]] for line in map(json.loads, lines)]
    content = json.loads(table.read_text())
    assert (content["columns"], content["data"]) == (["index", "id", "prediction"], rows)
    the_sweep_is_logged_too(harness.results)


def the_sweep_is_logged_too(results: Path) -> None:
    """The tables of `reports` as raw numbers, and its figures, in a run of the sweep's group."""
    sweep = load_sweep(results, "tiny")
    run, _, _ = told(results, run_of(sweep))
    assert (run.run_group, run.job_type) == ("tiny", "report")
    media = next(results.glob(f"wandb/offline-run-*{run_of(sweep)}/files/media"))
    (table,) = media.glob("table/tables/*methods_*.table.json")
    content = json.loads(table.read_text())
    column = content["columns"].index
    assert [row[column("run_id")] for row in content["data"]] == [run.id for run in sweep.runs]
    assert [row[column("bleu")] for row in content["data"]] == [
        run.done.quality["bleu"] if run.done else None for run in sweep.runs
    ]
    drawn = {path.name.partition("_")[0] for path in media.glob("images/figures/*.png")}
    assert {"curves", "memory", "profile"} <= drawn


def test_what_is_settable_and_what_is_logged_on_request(harness: Harness) -> None:
    given = ("tracker.entity=team", "tracker.group=november", "tracker.tags=[paper,lora]", "tracker.artifact=true")
    name = "tracker.name='{{ label }}, seed {{ seed }}'"
    result = harness(*given, name, "tracker.mode=offline", "method=lora", "eval.keep_texts=true", small=LOGGED)
    assert result.returncode == 0, result.stderr
    (record,) = harness.records().values()
    assert record.warnings == []
    run, _, _ = told(harness.results, record.id)
    assert (run.entity, run.run_group, run.display_name) == ("team", "november", "lora r=8, seed 0")
    assert run.tags == ["lora", "restaurants", "tiny_random", "paper"]
    (table,) = harness.results.glob(f"wandb/offline-run-*{record.id}/files/media/table/predictions_*.table.json")
    content = json.loads(table.read_text())
    assert content["columns"] == ["index", "id", "input", "references", "prediction"]
    assert all(isinstance(cell, str) and cell for row in content["data"] for cell in row[1:4])
    (path,) = harness.results.glob(f"wandb/offline-run-*/run-{record.id}.wandb")
    artifacts = [each.request.log_artifact.artifact for each in records(path) if each.request.HasField("log_artifact")]
    artifacts += [each.artifact for each in records(path) if each.WhichOneof("record_type") == "artifact"]
    kept = {file.path for each in artifacts if each.type == "model" for file in each.manifest.contents}
    assert kept >= {"adapter_model.safetensors", "adapter_config.json", "README.md", "prompt.json", "tokenizer.json"}


def test_a_name_that_cannot_be_written_is_refused(harness: Harness) -> None:
    wrong = {"{{ lable }}": "is undefined", "{{ label": "expected", "{{ label[:0] }}": "gives no text"}
    for name, said in wrong.items():
        refused = harness(f"tracker.name='{name}'", small=LOGGED)
        assert refused.returncode == 2
        (line,) = refused.stderr.splitlines()
        assert line.startswith(f"error: tracker.name={name}: ")
        assert said in line


NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize("key", ["garbage", pytest.param("0123456789" * 4, id="well-formed")])
def test_a_wrong_key_or_no_network_loses_nothing(harness: Harness, key: str) -> None:
    result = harness("tracker.mode=online", small=LOGGED, WANDB_API_KEY=key, WANDB_BASE_URL=NOBODY)
    assert result.returncode == 0, result.stderr
    (record,) = harness.records().values()
    assert record.status == "ok"
    (warning,) = record.warnings
    assert "offline" in warning
    assert f"{record.label}: {warning}" in result.stderr
    _, summary, _ = told(harness.results, record.id)
    assert summary["quality"] == record.quality


def test_a_broken_installation_of_wandb_loses_nothing(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "wandb.py").write_text('raise ImportError("broken on purpose")\n')
    result = harness(small=LOGGED, PYTHONPATH=str(tmp_path))
    assert result.returncode == 0, result.stderr
    (record,) = harness.records().values()
    assert record.status == "ok"
    (warning,) = record.warnings
    assert "broken on purpose" in warning


def test_a_sweep_whose_report_cannot_be_logged_has_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wandb.py").write_text('raise ImportError("broken on purpose")\n')
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(ROOT)
    log_sweep("e2e", ROOT / "docs/results/e2e", Tracker(kind="wandb", mode="offline", project="p"))
    assert "warning: W&B has no report of e2e (broken on purpose)" in capfd.readouterr().err
    log_sweep("e2e", ROOT / "docs/results/e2e", Tracker(kind="none", mode="auto", project="p"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("path", sorted((SWEEPS / "wandb").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_sweep_of_wandb_runs_its_first_point(path: Path, run_point: Callable[..., Any]) -> None:
    """W&B's agent fills in the command: `${args_no_hyphens}` is `name=value` for each parameter."""
    sweep = yaml.safe_load(path.read_text())
    assert sweep["command"][:4] == ["${env}", "python", "-m", "harness"]
    assert sweep["command"][-1] == "${args_no_hyphens}"
    parameters = sweep["parameters"].items()
    arguments = [f"{name}={given['value'] if 'value' in given else given['values'][0]}" for name, given in parameters]
    own = [argument for argument in sweep["command"][4:-1] if argument != "tracker=wandb"]
    record = run_point(*own, *arguments)
    assert record.status == "ok"
    metric, _, name = sweep["metric"]["name"].partition(".")
    assert name in getattr(record, metric)


@pytest.mark.parametrize("variable", [{"WANDB_MODE": "disabled"}, {"WANDB_DISABLED": "true"}])
def test_wandb_that_is_switched_off_is_not_asked(variable: dict[str, str], harness: Harness) -> None:
    ended = harness("-m", "seed=0", small=LOGGED, **variable)
    assert ended.returncode == 0, ended.stderr
    assert "W&B" not in ended.stdout + ended.stderr
    assert not (harness.results / "wandb").exists()
    (record,) = harness.records().values()
    assert record.warnings == []


def test_wandb_offline_by_its_own_variable(harness: Harness) -> None:
    assert harness("method=zero_shot", small=LOGGED, WANDB_MODE="offline").returncode == 0
    assert list(harness.results.glob("wandb/offline-run-*"))
