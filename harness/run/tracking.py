"""Weights & Biases beside the record. Whatever it does, the run goes on and the record is written."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data import filled
from harness.errors import first_line
from harness.notices import say
from harness.results.folder import RunFolder

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.results.record import Record
    from harness.settings import Tracker


SECONDS_TO_CONNECT = 30
SECONDS_FOR_A_SWEEP = 600
SUMMARY = {
    *("parameters", "memory", "planned", "ledger", "device_memory", "throughput", "machine", "energy", "inference"),
    *("quality", "forgetting", "typos", "paraphrases"),
}
"""Sections of a record that W&B's summary has."""


NAME = "{{ label }} {{ id[-6:] }}"
"""Template of a run's name."""
SHOWN = ("index", "id", "input", "references", "prediction")
"""Columns of W&B's table of predictions: those that the run's lines have."""


class Tracking:
    """One run of W&B: curves, summary, configuration, tags, and a table of predictions. Resumable by run id."""

    def __init__(self, settings: RunSettings, run: str, known: dict[str, Any]) -> None:
        self.warnings: list[str] = []
        self.run: Any = None
        self.adapter = RunFolder.of(Path(settings.results), run).adapter if settings.tracker.artifact else None
        if switched_off(settings.tracker):
            return
        self._try("start", lambda: self._start(settings, run, known))

    def _start(self, settings: RunSettings, run: str, known: dict[str, Any]) -> None:
        import wandb

        folder, tracker = Path(settings.results), settings.tracker
        mode = mode_of(tracker)
        quiet = wandb.Settings(init_timeout=SECONDS_TO_CONNECT, silent=True, console="off", x_disable_stats=True)
        options: dict[str, Any] = {
            "project": tracker.project,
            "entity": tracker.entity,
            "dir": str(folder),
            "id": run,
            "resume": "allow",
            "name": filled(tracker.name or NAME, label=known["label"], seed=settings.seed, id=run),
            "group": tracker.group or os.environ.get("HARNESS_SWEEP"),
            "tags": list(dict.fromkeys([*_known_by(settings), *tracker.tags])),
            "config": known["key"],
            "settings": quiet,
        }
        try:
            self.run = wandb.init(mode=mode, **options)  # type: ignore[arg-type]
        except Exception as error:
            # wandb raises its own errors and those of its transport: a wrong key, no network, a full quota.
            if mode != "online":
                raise
            self.warnings.append(f"W&B online failed ({first_line(error)}); logged offline, send it with `wandb sync`")
            say(f"{known['label']}: {self.warnings[-1]}")
            with contextlib.suppress(SystemExit):  # the exit code of its service is of no interest
                wandb.teardown()  # or the failed attempt would keep the run's id to itself
            self.run = wandb.init(mode="offline", **options)

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self.run is not None:
            self._try("finish", lambda: self.run.finish(exit_code=1))

    def log(self, line: dict[str, float]) -> None:
        """Log a line of the curve."""
        if self.run is not None:
            step = int(line["step"])
            values = {f"train/{k}": v for k, v in line.items() if k not in {"step", "val_loss"}}
            if "val_loss" in line:
                values["validation/loss"] = line["val_loss"]
            self._try("log", lambda: self.run.log(values, step=step))

    def finish(self, record: Record, lines: Sequence[dict[str, Any]]) -> Record:
        """Log the summary and the predictions, and end W&B's run. The record, with a warning for what went wrong."""
        if self.run is not None:
            self._try("finish", lambda: self._finish(record, lines))
        return record.model_copy(update={"warnings": record.warnings + self.warnings})

    def _finish(self, record: Record, lines: Sequence[dict[str, Any]]) -> None:
        import wandb

        summary = record.model_dump(mode="json", include=SUMMARY)
        self.run.summary.update(summary | {"status": record.status})
        columns = [name for name in SHOWN if any(name in line for line in lines)]
        rows: list[Iterable[Any]] = [[_cell(line.get(name)) for name in columns] for line in lines]
        self.run.log({"predictions": wandb.Table(columns=[*columns], data=rows)})
        if self.adapter is not None and self.adapter.is_dir():
            artifact = wandb.Artifact(f"adapter-{record.id}", type="model", metadata={"label": record.label})
            artifact.add_dir(str(self.adapter))
            self.run.log_artifact(artifact)
        self.run.finish()

    def _try(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # any failure of the tracker, so that it never loses a run
            self.warnings.append(f"W&B could not {what} ({first_line(error)}); the record is complete")
            self.run = None


def _known_by(settings: RunSettings) -> list[str]:
    """What every run is tagged with."""
    return [settings.method.name, settings.data.name, settings.model.name[:60]]


def _cell(value: Any) -> Any:
    """What a table takes: of several references each on a line."""
    return "\n".join(value) if isinstance(value, list) else value


def log_sweep(name: str, results: Path, tracker: Tracker) -> None:
    """Have the sweep's tables and figures logged, by `reports` in a process of its own; a failure is a warning."""
    if switched_off(tracker):
        return
    print(f"W&B: tables and figures of {name}", file=sys.stderr)
    options = ["--results", str(results), "--project", tracker.project, "--mode", tracker.mode]
    options += ["--entity", tracker.entity] if tracker.entity else []
    try:
        subprocess.run(
            [sys.executable, "-m", "reports", "track", name, *options],
            stdout=subprocess.DEVNULL,
            check=False,
            timeout=SECONDS_FOR_A_SWEEP,
        )
    except subprocess.TimeoutExpired:
        print(f"warning: W&B took more than {SECONDS_FOR_A_SWEEP} s for the report of {name}", file=sys.stderr)


def switched_off(tracker: Tracker) -> bool:
    """Nothing is logged: the settings say so, or leave it open (`auto`) and W&B's own variables do."""
    own = os.environ.get("WANDB_MODE", "").lower() == "disabled" or "WANDB_DISABLED" in os.environ
    return tracker.kind == "none" or (tracker.mode == "auto" and own)


def mode_of(tracker: Tracker) -> str:
    """`online` or `offline`: what the settings say, else W&B's own variable, else whether it finds credentials."""
    if tracker.mode != "auto":
        return tracker.mode
    own = os.environ.get("WANDB_MODE", "").lower()
    return own if own in ("online", "offline") else ("online" if logged_in() else "offline")


def logged_in() -> bool:
    """W&B finds credentials (environment, netrc, settings), without asking for any."""
    import wandb

    return bool(wandb.login(prompt=False))
