"""A tracker beside the record. Whatever it does, the run goes on and the record is written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data import filled
from harness.errors import first_line
from harness.notices import say
from harness.results.folder import RunFolder
from harness.trackers import TITLES, About, Logged, Table, start

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.results.record import Record
    from harness.settings import Tracker


SECONDS_FOR_A_SWEEP = 600
SUMMARY = {
    *("parameters", "memory", "planned", "ledger", "device_memory", "throughput", "machine", "energy", "inference"),
    *("quality", "forgetting", "typos", "paraphrases"),
}
"""Sections of a record that a tracker's summary has."""


NAME = "{{ label }} {{ id[-6:] }}"
"""Template of a run's name."""
SHOWN = ("index", "id", "input", "references", "prediction")
"""Columns of the table of predictions: those that the run's lines have."""


class Tracking:
    """One run in a tracker: curves, summary, configuration, tags, and a table of predictions. Resumable by run id."""

    def __init__(self, settings: RunSettings, run: str, known: dict[str, Any]) -> None:
        self.warnings: list[str] = []
        self.run: Logged | None = None
        self.title = TITLES.get(settings.tracker.kind, "")
        self.adapter = RunFolder.of(Path(settings.results), run).adapter if settings.tracker.artifact else None
        if switched_off(settings.tracker):
            return
        self._try("start", lambda: self._start(settings, run, known))

    def _start(self, settings: RunSettings, run: str, known: dict[str, Any]) -> None:
        tracker, label = settings.tracker, known["label"]

        def warn(line: str) -> None:
            self.warnings.append(line)
            say(f"{label}: {line}")

        about = About(
            id=run,
            label=label,
            name=filled(tracker.name or NAME, label=label, seed=settings.seed, id=run),
            group=tracker.group or os.environ.get("HARNESS_SWEEP"),
            tags=list(dict.fromkeys([*_known_by(settings), *tracker.tags])),
            config=known["key"],
            results=Path(settings.results),
            tracker=tracker,
            warn=warn,
        )
        self.run = start(about)

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and (run := self.run) is not None:
            self._try("finish", run.fail)

    def log(self, line: dict[str, float]) -> None:
        """Log a line of the curve."""
        if (run := self.run) is not None:
            step = int(line["step"])
            values = {f"train/{k}": v for k, v in line.items() if k not in {"step", "val_loss"}}
            if "val_loss" in line:
                values["validation/loss"] = line["val_loss"]
            self._try("log", lambda: run.log(values, step))

    def finish(self, record: Record, lines: Sequence[dict[str, Any]]) -> Record:
        """Log the summary and the predictions, and end the tracker's run. The record, with a warning for what went
        wrong."""
        if (run := self.run) is not None:
            self._try("finish", lambda: self._finish(run, record, lines))
        return record.model_copy(update={"warnings": record.warnings + self.warnings})

    def _finish(self, run: Logged, record: Record, lines: Sequence[dict[str, Any]]) -> None:
        summary = record.model_dump(mode="json", include=SUMMARY) | {"status": str(record.status)}
        columns = [name for name in SHOWN if any(name in line for line in lines)]
        rows = [[_cell(line.get(name)) for name in columns] for line in lines]
        adapter = self.adapter if self.adapter is not None and self.adapter.is_dir() else None
        run.finish(summary, Table(columns, rows), adapter)

    def _try(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # any failure of the tracker, so that it never loses a run
            self.warnings.append(f"{self.title} could not {what} ({first_line(error)}); the record is complete")
            self.run = None


def _known_by(settings: RunSettings) -> list[str]:
    """What every run is tagged with."""
    return [settings.method.name, settings.data.name, settings.model.name[:60]]


def _cell(value: Any) -> Any:
    """What a table takes: of several references each on a line."""
    return "\n".join(value) if isinstance(value, list) else value


def log_sweep(name: str, results: Path, tracker: Tracker) -> None:
    """Have the sweep's tables and figures logged into W&B, by `reports` in a process of its own; a failure is a
    warning. Of another tracker nothing."""
    if tracker.kind != "wandb" or switched_off(tracker):
        return
    print(f"W&B: tables and figures of {name}", file=sys.stderr)
    options = ["--results", str(results), "--project", tracker.project, "--mode", tracker.mode]
    options += ["--entity", tracker.entity] if tracker.entity else []
    options += ["--group", tracker.group] if tracker.group else []
    try:
        subprocess.run(
            [sys.executable, "-m", "reports", "track", name, *options],
            stdin=subprocess.DEVNULL,  # or W&B would ask for a key where a terminal is
            stdout=subprocess.DEVNULL,
            check=False,
            timeout=SECONDS_FOR_A_SWEEP,
        )
    except subprocess.TimeoutExpired:
        print(f"warning: W&B took more than {SECONDS_FOR_A_SWEEP} s for the report of {name}", file=sys.stderr)


def switched_off(tracker: Tracker) -> bool:
    """Nothing is logged: the settings say so, or leave it open (`auto`) and W&B's own variables do."""
    own = os.environ.get("WANDB_MODE", "").lower() == "disabled" or "WANDB_DISABLED" in os.environ
    return tracker.kind == "none" or (tracker.kind == "wandb" and tracker.mode == "auto" and own)
