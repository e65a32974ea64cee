"""What a baseline holds, a field a measure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat

from harness.results.sections import Better
from reports.statistics.scores import main_of, unsaid

SCHEMA = 1
"""Version of the file's layout; a reader refuses a newer one."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Acceptance(_Part):
    """Why the figures are what they are, as someone stated it."""

    date: str
    reason: str


class Machine(_Part):
    """Where it was measured."""

    device: str
    threads: int
    allocator: str | None
    """Settings of the C library's allocator, which decide what resident memory shows; None: the system's own."""
    processor: str | None = None
    """With the instructions it may use, which decide how sums are rounded; None where the records do not say."""

    @property
    def on_cpu(self) -> bool:
        """It is no GPU that computes."""
        return self.device.startswith("cpu")


class Entry(_Part):
    """What one configuration measured, over its repeats."""

    key: str
    """First digits of the hash of settings, model and data."""
    overrides: str
    """What produces it on the command line, `repeat` aside."""
    seed: int | None
    dtype: str
    exact: dict[str, int]
    """Counts of parameters and bytes by `section.field`."""
    memory: dict[str, list[int]] = {}
    """Peaks in bytes, one a repeat."""
    throughput: list[FiniteFloat] = []
    """Median tokens per second of training, one a repeat."""
    quality: dict[str, FiniteFloat | None] = {}
    """Scores of the first repeat; null where it was no finite number."""
    better: dict[str, Better] = {}
    """By score, which values are better; nothing in files of earlier versions."""
    indices: str = ""
    """Of the test examples, as ranges."""
    examples: dict[str, str] = {}
    """By score: each example's statistics, examples divided by `;`."""
    steps: str = ""
    """Of training, whose losses are kept, as ranges."""
    losses: list[FiniteFloat] = []
    """Training losses of the first repeat at these steps, at full precision."""
    predictions: str = ""
    """First digits of the SHA-256 of its answers, in the order of their indices."""
    alike: bool | None = None
    """Whether all repeats had the same losses and answers; null for one repeat."""
    failed: str | None = None
    """Why there is nothing: status and cause. Never in a file."""

    @property
    def traced(self) -> bool:
        """It has something to compare to the bit; what earlier versions wrote has not."""
        return bool(self.losses or self.predictions)

    @property
    def at(self) -> list[int]:
        """The steps of `losses`."""
        spans = ([int(end) for end in span.split("-")] for span in self.steps.split())
        return [step for span in spans for step in range(span[0], span[-1] + 1)]

    @property
    def main(self) -> str | None:
        """The score by which the run is judged."""
        return main_of({name: self.direction(name) for name in self.examples})

    def direction(self, score: str) -> Better:
        """Which values of a score are better."""
        return self.better.get(score) or unsaid(score)

    def parts(self, score: str) -> NDArray[np.float64]:
        """[examples, statistics] of a score."""
        return np.array([[float(n) for n in each.split()] for each in self.examples[score].split(";")])


class Baseline(_Part):
    """The content of a baseline file."""

    schema_version: int = SCHEMA
    sweep: str
    """What to measure: the name of a sweep."""
    overrides: list[str] = []
    """Given on the command line beside it."""
    accepted: list[Acceptance] = []
    """Oldest first."""
    measured: str
    """When, UTC."""
    machine: Machine
    versions: dict[str, str]
    repeats: int
    runs: dict[str, Entry]
