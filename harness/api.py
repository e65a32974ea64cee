"""What may be used from Python, with `reports.api`: compose and run one point, run a sweep. docs/python.md shows it.

Everything else may change from one version to the next.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.config.compose import compose_settings, composed
from harness.config.run_settings import RunSettings
from harness.config.sweeps import asked_for
from harness.errors import UserError
from harness.launch import run_once
from harness.places import own_folders
from harness.results.folder import RunFolder
from harness.results.record import Record

__all__ = ["Record", "RunSettings", "UserError", "run", "run_folder", "settings", "sweep"]


def settings(*overrides: str) -> RunSettings:
    """The typed settings of a point, of overrides as on the command line. Raises UserError with every problem."""
    return compose_settings(list(overrides))


def run(*overrides: str) -> Record:
    """Run one point, unless it is done, in a process of its own. Returns its record, whose `status` says how it ended.
    Raises UserError for what can be told before anything is loaded, KeyboardInterrupt."""
    try:
        return run_once.run_point(composed(list(overrides)))
    finally:
        run_once.close_own()


def run_folder(record: Record, results: Path | str = "results") -> Path:
    """Where a run's record, adapter, predictions and curve lie."""
    return RunFolder.of(Path(results), record.id).path


def sweep(*overrides: str) -> str:
    """Run a sweep, as `python -m harness` does: of a file with `+sweep=NAME`, or of overrides that have several values.
    What it says goes to stderr. Returns the name under which `reports.api` finds it, where runs failed too. Raises
    UserError, KeyboardInterrupt."""
    file, _ = asked_for(list(overrides))
    given = [word.partition("=")[2] for word in overrides if word.startswith("hydra.sweeper.name=")]
    words = [word for folder in own_folders() for word in ("--config-dir", str(folder))]
    command = [sys.executable, "-m", "harness", *words, *_multirun(overrides), *overrides]
    problems: list[str] = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("error: "):
                problems.append(line.removeprefix("error: ").rstrip())
            else:
                print(line, end="", file=sys.stderr, flush=True)
    if process.returncode == 130:
        raise KeyboardInterrupt
    if process.returncode not in (0, 1):
        raise UserError(*(problems or [f"the sweep ended with code {process.returncode}"]))
    return given[-1] if given else file.name


def _multirun(overrides: Sequence[str]) -> list[str]:
    """The flag of a sweep that has no file."""
    return [] if any(word.startswith("+sweep=") for word in overrides) else ["-m"]
