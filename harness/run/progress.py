"""Where a run stands, and whether it must end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.errors import RunEnded


@dataclass
class RunProgress:
    """Where a run stands: told to the live view, asked whether it must end."""

    report: Callable[[dict[str, Any]], None]
    stopped: Callable[[], bool]
    time_limit: float | None
    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    step: int | None = None
    phase_now: str | None = None
    warnings: list[str] = field(default_factory=list)
    """What the record says of the run's surroundings."""
    shared: bool = False
    """Other processes use the run's GPU."""
    earlier: float = 0.0
    """Seconds of a trial's stretches before this one, which `seconds` has in it."""
    measured: dict[str, Any] = field(default_factory=dict)
    """Fields of the record that are known already, should the run end badly."""

    @property
    def total(self) -> float:
        """Seconds so far, all stretches together."""
        return time.perf_counter() - self.started + self.earlier

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase and show it."""
        self.report({"phase": name})
        self.phase_now = name
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def ended(self) -> RunEnded | None:
        """Why the run must end now, if it must."""
        if self.stopped():
            return RunEnded("interrupted", "stopped by a signal; run again to go on", self.step)
        if self.time_limit is not None and time.perf_counter() - self.started > self.time_limit:
            return RunEnded("timeout", f"longer than train.time_limit={self.time_limit:g} s", self.step)
        return None

    def generated(self, done: int) -> None:
        """Show how many answers there are. Raises RunEnded where the run must end."""
        self.report({"generated": done})
        if end := self.ended():
            raise end

    def answered(self, done: int, total: int) -> None:
        """Show how many of so many answers there are. Raises RunEnded where the run must end."""
        self.report({"answered": done, "answers": total})
        if end := self.ended():
            raise end
