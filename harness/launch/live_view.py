"""How far a sweep is: what a run tells, and the live view that reads it."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.launch.progress_file import INTERVAL
from harness.results.folder import RunFolder, UnreadableRecord, read_record


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep, before it is run."""

    run: str
    label: str
    overrides: str
    done: bool
    on_gpu: bool = False
    """It runs on a GPU, and so beside points on other GPUs."""


@dataclass
class Counts:
    """How the points of a sweep stand."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    interrupted: int = 0
    left: int = 0
    running: list[str] = field(default_factory=list)
    """What each point that runs now is at."""


class SweepView:
    """Shows done, failed and left, the time left, and phase and loss of what runs now, until the block ends.

    On a terminal it is live, elsewhere a plain line for each run that ends. It reads files alone, so that it is the
    same whichever launcher runs the points.
    """

    def __init__(
        self, points: Sequence[SweepRun], results: Path, tell: bool = True, since: float | None = None
    ) -> None:
        """`tell`: say how each point ended (whoever runs a single one says it itself). `since`: the time from which on
        records are this sweep's; None: from now on."""
        self.points, self.results, self.tell = named_apart(points), results, tell
        self.began = time.time()
        self.since = self.began if since is None else since
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._finished, self._last = 0, self.began
        """How many runs have ended since then, and when the last of them was seen to have."""
        self._told = {(p.run, "ok") for p in points if p.done}
        self._live: Any = None

    def __enter__(self) -> SweepView:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
        if self._live:
            self._live.stop()

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        counts = Counts()
        finished_here = 0
        news = []
        for point in self.points:
            folder = RunFolder.of(self.results, point.run)
            status, cause, seconds = self._status(point, folder)
            if status is None:
                counts.left += 1
                counts.running += filter(None, [self._running(point, folder)])
                continue
            counts.done += status == "ok"
            counts.skipped += status == "skipped"
            counts.interrupted += status == "interrupted"
            counts.failed += status not in ("ok", "skipped", "interrupted")
            finished_here += not point.done
            if self.tell and (point.run, status) not in self._told:  # a scheduler may have one run again
                self._told.add((point.run, status))
                why = f": {cause}" if cause else ""
                news.append(f"{point.label}: {status}{why} ({seconds:.0f} s)")
        if finished_here > self._finished:
            self._finished, self._last = finished_here, time.time()
        for line in news:
            self._say(f"{line}; {self._summary(counts)}")
        if self._live:
            from rich.text import Text

            self._live.update(Text(now(self._summary(counts), counts.running)))

    def _status(self, point: SweepRun, folder: RunFolder) -> tuple[str | None, str | None, float]:
        """Status, cause and seconds of a point's record; None while it has none from this sweep."""
        path = folder.record
        if point.done:
            return "ok", None, 0.0
        try:
            if path.stat().st_mtime < self.since:
                return None, None, 0.0
            record = read_record(path)
        except (OSError, UnreadableRecord):  # the run itself tells what is wrong with the folder
            return None, None, 0.0
        return record.status, record.cause, record.seconds.get("total", sum(record.seconds.values()))

    def _running(self, point: SweepRun, folder: RunFolder) -> str:
        """Phase and loss of a point that is running now."""
        try:
            state = json.loads(folder.progress.read_text())
        except (OSError, ValueError):
            return ""
        if state.get("time", 0) < self.since:
            return ""
        parts = [point.label, state.get("phase", "")]
        if state.get("phase") == "train" and "step" in state:
            parts.append(f"step {state['step']:.0f}/{state['steps']}, loss {state['loss']:.3f}")
        if state.get("phase", "").endswith("lm-eval") and "answered" in state:
            parts.append(f"{state['answered']:,} of {state['answers']:,} answers")
        return "  ".join(parts)

    def _summary(self, counts: Counts) -> str:
        others = {"skipped": counts.skipped, "interrupted": counts.interrupted}
        more = "".join(f"{count} {name}, " for name, count in others.items() if count)
        text = f"{counts.done} done, {counts.failed} failed, {more}{counts.left} left"
        if self._finished and counts.left:
            seconds = time_left(self._last - self.began, self._finished, counts.left, time.time() - self._last)
            text += f", about {_duration(seconds)} to go" if seconds > 0 else ""
        return text

    def _say(self, line: str) -> None:
        if self._live:
            self._live.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)


def named_apart(points: Sequence[SweepRun]) -> list[SweepRun]:
    """The points, those of one label with what they differ in: a seed, a rate."""
    alike: dict[str, list[list[str]]] = defaultdict(list)
    for point in points:
        alike[point.label].append(point.overrides.split())
    shared = {label: set.intersection(*map(set, rows)) for label, rows in alike.items()}
    found = []
    for point in points:
        own = [word for word in point.overrides.split() if word not in shared[point.label]]
        words = ", ".join(word.partition("=")[0].rpartition(".")[2] + f" {word.partition('=')[2]}" for word in own)
        found.append(replace(point, label=f"{point.label}, {words}") if words else point)
    return found


def time_left(took: float, finished: int, left: int, since: float) -> float:
    """Seconds until `left` runs have ended, if each takes as long as those that are finished, which took `took` seconds
    together and the last of which ended `since` seconds ago. Not above 0: it is not known how long."""
    return took / finished * left - since


def now(summary: str, running: Sequence[str]) -> str:
    """The live view: one line, or where several run at once, their number and a line each."""
    if len(running) < 2:
        return "  ".join([summary, *running])
    return "\n  ".join([f"{summary}; {len(running)} run now", *running])


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
