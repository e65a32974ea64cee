"""What MLflow and trackio are told, read back by their own clients from local stores, and that their failures lose no
run. W&B has tests of its own, in test_tracking.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from harness.places import ROOT
from harness.results.record import Record
from harness.settings import Tracker
from harness.trackers import TITLES, About, start
from tests.support.command_line import TINY, Harness

LOGGED = (*(override for override in TINY if override != "tracker=none"), "data.size=100", "method=lora")
GIVEN = ("tracker.group=november", "tracker.tags=[paper]", "tracker.artifact=true", "tracker.project=mine")
MLFLOW = pytest.mark.skipif(find_spec("mlflow") is None, reason="the extra mlflow is not installed")
TRACKIO = pytest.mark.skipif(find_spec("trackio") is None, reason="the extra trackio is not installed")
BOTH = [pytest.param("mlflow", marks=MLFLOW), pytest.param("trackio", marks=TRACKIO)]
TAGS = ["lora", "restaurants", "tiny_random", "paper"]
KEPT = {"adapter_model.safetensors", "adapter_config.json"}


def ran(harness: Harness, *words: str, **environment: str) -> tuple[Record, list[dict[str, Any]], list[dict[str, Any]]]:
    """The record of a run, its curve and its predictions."""
    ended = harness(*words, small=LOGGED, **environment)
    assert ended.returncode == 0, ended.stderr
    (record,) = harness.records().values()
    assert record.status == "ok"
    lines = [
        [json.loads(line) for line in (harness.results / "runs" / record.id / name).read_text().splitlines()]
        for name in ("curve.jsonl", "predictions.jsonl")
    ]
    return record, lines[0], lines[1]


@MLFLOW
def test_mlflow_holds_all_that_the_record_does(harness: Harness) -> None:
    from mlflow.tracking import MlflowClient

    record, curve, lines = ran(harness, "tracker=mlflow", *GIVEN)
    assert record.warnings == []
    client = MlflowClient(f"sqlite:///{harness.results / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mine")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", f"lora r=8 {record.id[-6:]}")
    assert {name: run.data.tags[name] for name in ("run", "group", "tags")} == {
        "run": record.id,
        "group": "november",
        "tags": ", ".join(TAGS),
    }
    assert run.data.params["settings.method.rank"] == "8"
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert {each.step: each.value for each in history} == {each["step"]: each["loss"] for each in curve}
    assert run.data.metrics["quality.bleu"] == record.quality["bleu"]
    assert "forgetting.kl_quantiles.5_" in run.data.metrics, "MLflow takes no per cent sign"

    def file(name: str) -> Any:
        return json.loads(Path(client.download_artifacts(run.info.run_id, name)).read_text())

    assert file("config.json") == record.key
    assert file("summary.json")["quality"] == record.quality
    assert file("predictions.json")["prediction"] == [line["prediction"] for line in lines]
    assert {Path(each.path).name for each in client.list_artifacts(run.info.run_id, "adapter")} >= KEPT


READ = """
import json, trackio
from trackio.sqlite_storage import SQLiteStorage as store
(run,) = trackio.Api().runs("mine")
files = [store.get_artifact_manifest("mine", each["name"], each.get("version") or "latest")
         for each in store.get_artifacts("mine")]
logs = store.get_logs("mine", run.name, run_id=run.id)
print(json.dumps([run.name, run.config, logs, store.get_run_records("mine"), files]))
"""


@TRACKIO
def test_trackio_holds_all_that_the_record_does(harness: Harness) -> None:
    record, curve, lines = ran(harness, "tracker=trackio", *GIVEN)
    assert record.warnings == []
    store = os.environ | {"TRACKIO_DIR": str(harness.results / "trackio")}
    read = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, env=store, timeout=120)
    assert read.returncode == 0, read.stderr
    name, config, history, runs, files = json.loads(read.stdout.splitlines()[-1])
    assert name == f"lora r=8 {record.id[-6:]}"
    assert (config["run"], config["tags"], config["settings"]) == (record.id, TAGS, record.key["settings"])
    assert "november" in json.dumps([config, runs])
    assert [each["train/loss"] for each in history if "train/loss" in each] == [each["loss"] for each in curve]
    last = history[-1]
    assert (last["status"], last["quality.bleu"]) == ("ok", record.quality["bleu"])
    said = [row["prediction"] for row in last["predictions"]["_value"]]
    assert said == [line["prediction"] for line in lines]
    assert all(name in json.dumps(files) for name in KEPT)


def about(kind: str, results: Path, **more: Any) -> About:
    tracker = Tracker(kind=kind, mode="offline", project="mine", **more)  # type: ignore[arg-type]
    names: dict[str, Any] = {"id": "lora-0123456789ab", "label": "lora", "name": "lora 6789ab", "group": None}
    return About(**names, tags=["a"], config={"seed": 0}, results=results, tracker=tracker, warn=print)


@MLFLOW
def test_a_run_of_mlflow_that_goes_on_is_one(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    start(about("mlflow", tmp_path)).log({"loss": 1.0}, 1)  # killed before it is written
    first = start(about("mlflow", tmp_path))
    first.log({"loss": 2.0}, 2)
    first.fail()
    second = start(about("mlflow", tmp_path))
    second.log({"loss": 3.0}, 3)
    second.fail()
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mine")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    assert [each.value for each in client.get_metric_history(run.info.run_id, "loss")] == [2.0, 3.0]


ON = """
import sys
from pathlib import Path
from tests.run.test_trackers import about
from harness.trackers import start
for value in (2.0, 3.0):
    run = start(about("trackio", Path(sys.argv[1])))
    run.log({"loss": value}, int(value))
    run.fail()
from trackio.sqlite_storage import SQLiteStorage as store
import trackio
(run,) = trackio.Api().runs("mine")
print([each["loss"] for each in store.get_logs("mine", run.name, run_id=run.id)])
"""


@TRACKIO
def test_a_run_of_trackio_that_goes_on_is_one(tmp_path: Path) -> None:
    """In a process of its own: trackio settles where it stores when it is imported."""
    ended = subprocess.run([sys.executable, "-c", ON, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "[2.0, 3.0]"


@MLFLOW
def test_a_server_of_mlflow_that_is_down_loses_nothing(harness: Harness) -> None:
    record, _, _ = ran(harness, "tracker=mlflow", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    (warning,) = record.warnings
    assert warning.startswith("MLflow could not start (")


@pytest.mark.parametrize("kind", BOTH)
def test_online_without_a_place_is_a_warning(kind: str, harness: Harness) -> None:
    record, _, _ = ran(harness, f"tracker={kind}", "tracker.mode=online")
    (warning,) = record.warnings
    assert f"{TITLES[kind]} could not start (tracker.mode=online needs " in warning


@pytest.mark.parametrize("kind", ["mlflow", "trackio"])
def test_one_that_is_not_installed_is_a_warning_that_says_what_to_install(kind: str, harness: Harness) -> None:
    if find_spec(kind) is not None:
        pytest.skip(f"the extra {kind} is installed")
    record, _, _ = ran(harness, f"tracker={kind}")
    (warning,) = record.warnings
    assert f"pip install 'peft-harness[{kind}]'" in warning
