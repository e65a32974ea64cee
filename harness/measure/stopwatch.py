"""How long the parts of a training step take."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Runs from when it is made. On a GPU parts are timed by events in its queue, which wait for nothing: the device is
    synchronized at both ends alone."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._seconds: dict[str, float] = {}
        self._events: list[tuple[str, torch.cuda.Event]] = []
        if self._cuda:
            torch.cuda.synchronize()
        self._started = self._last = time.perf_counter()
        if self._cuda:
            self._record("")

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What happens inside, and since the last part, is spent on this one."""
        yield
        self.lap(name)

    def lap(self, part: str) -> None:
        """The time since the last call was spent on `part`."""
        if self._cuda:
            self._record(part)
            return
        now = time.perf_counter()
        self._seconds[part] = self._seconds.get(part, 0.0) + now - self._last
        self._last = now

    def _record(self, part: str) -> None:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        self._events.append((part, event))

    def seconds(self) -> dict[str, float]:
        """`seconds` since the start, and those of each part as `<part>_seconds`."""
        if self._cuda:
            torch.cuda.synchronize()
        total = time.perf_counter() - self._started
        for (_, begin), (part, end) in itertools.pairwise(self._events):
            self._seconds[part] = self._seconds.get(part, 0.0) + begin.elapsed_time(end) / 1000
        return {"seconds": total} | {f"{part}_seconds": seconds for part, seconds in self._seconds.items()}
