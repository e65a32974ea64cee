"""Where a run is logged beside its record: a file a tracker, named as `tracker.kind` names it. What one does not do, it
raises; the caller makes a warning of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from harness.settings import Tracker

TITLES = {"wandb": "W&B", "mlflow": "MLflow", "trackio": "trackio"}
"""What each is called in a line."""


@dataclass(frozen=True)
class About:
    """What every tracker is told of a run when it begins."""

    id: str
    """The record's."""
    label: str
    """The row's name in a table."""
    name: str
    group: str | None
    tags: list[str]
    config: dict[str, Any]
    """The run's key, nested."""
    results: Path
    """The results folder: local stores lie in it."""
    tracker: Tracker
    warn: Callable[[str], None]
    """Takes a line for the record."""


class Table(NamedTuple):
    """Predictions."""

    columns: list[str]
    rows: list[list[Any]]


class Logged(Protocol):
    """A run in a tracker."""

    @abstractmethod
    def log(self, values: dict[str, float], step: int) -> None:
        """A line of the history."""

    @abstractmethod
    def finish(self, summary: dict[str, Any], predictions: Table, adapter: Path | None) -> None:
        """The run ended: `summary` is nested, `status` in it; `adapter`: a folder that is wanted too."""

    @abstractmethod
    def fail(self) -> None:
        """The run ended in an exception."""


def start(about: About) -> Logged:
    """The run, begun or gone on with. Raises whatever the tracker does, and ImportError where it is not installed."""
    kind = about.tracker.kind
    if find_spec(kind) is None:
        raise ImportError(f"it is not installed: pip install 'peft-harness[{kind}]'")
    return cast("Logged", import_module(f"harness.trackers.{kind}").start(about))
