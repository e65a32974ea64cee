"""MLflow: the server that MLFLOW_TRACKING_URI names, else <results>/mlflow.db, with files in <results>/mlflow."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

from harness.results.record import flat_items
from harness.trackers import About, Table

EVERY = 10.0
"""Seconds between writes of the history, so that writing is no part of a step's time."""
AT_ONCE = 900
"""Values of the history in a write; MLflow takes 1,000."""
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Its own variables, where nobody has set them: it would tell its makers, and try a server that is down for minutes."""
ENDED = {"ok": "FINISHED", "interrupted": "KILLED"}
"""MLflow's word for the status of a record; FAILED for all others."""


class Run:
    """A run of MLflow. Its id is MLflow's own; the record's is its tag `run`."""

    def __init__(self, client: Any, id: str) -> None:
        self.client, self.id = client, id
        self.waiting: list[Any] = []
        self.written = time.monotonic()

    def log(self, values: dict[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.waiting += [Metric(name, value, now, step) for name, value in values.items()]
        if len(self.waiting) >= AT_ONCE or time.monotonic() - self.written > EVERY:
            self._write()

    def finish(self, summary: dict[str, Any], predictions: Table, adapter: Path | None) -> None:
        from mlflow.entities import Metric

        self._write()
        now = int(time.time() * 1000)
        numbers = [(n, v) for n, v in flat_items(summary) if isinstance(v, int | float) and not isinstance(v, bool)]
        self.waiting = [Metric(_named(name), value, now, 0) for name, value in numbers]
        self._write()
        self.client.log_dict(self.id, summary, "summary.json")
        rows = [list(column) for column in zip(*predictions.rows, strict=True)]
        self.client.log_dict(self.id, dict(zip(predictions.columns, rows, strict=True)), "predictions.json")
        if adapter is not None:
            self.client.log_artifacts(self.id, str(adapter), "adapter")
        self.client.set_terminated(self.id, ENDED.get(summary["status"], "FAILED"))

    def fail(self) -> None:
        self._write()
        self.client.set_terminated(self.id, "FAILED")

    def _write(self) -> None:
        for first in range(0, len(self.waiting), AT_ONCE):
            self.client.log_batch(self.id, metrics=self.waiting[first : first + AT_ONCE])
        self.waiting, self.written = [], time.monotonic()


def _named(name: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def start(about: About) -> Run:
    """MLflow's run, found by the record's id where it was begun before."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow.entities import Param
    from mlflow.tracking import MlflowClient

    given = os.environ.get("MLFLOW_TRACKING_URI") if about.tracker.mode != "offline" else None
    if about.tracker.mode == "online" and not given:
        raise ValueError("tracker.mode=online needs MLFLOW_TRACKING_URI")
    client = MlflowClient(given or f"sqlite:///{about.results.resolve() / 'mlflow.db'}")
    project = about.tracker.project
    found = client.get_experiment_by_name(project)
    files = None if given else (about.results.resolve() / "mlflow").as_uri()
    place = found.experiment_id if found else client.create_experiment(project, artifact_location=files)
    before = client.search_runs([place], f"tags.run = '{about.id}'")
    if before:
        client.update_run(before[0].info.run_id, status="RUNNING")
        return Run(client, before[0].info.run_id)
    tags = {"run": about.id, "tags": ", ".join(about.tags)} | ({"group": about.group} if about.group else {})
    run = Run(client, client.create_run(place, tags=tags, run_name=about.name).info.run_id)
    client.log_batch(run.id, params=[Param(_named(name), str(value)) for name, value in flat_items(about.config)])
    client.log_dict(run.id, about.config, "config.json")
    return run
