"""What rows are measured by, besides scores: where a record has it, its unit, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reports.figures._data import Data, Row, Value, over_seeds_said
from reports.figures._style import memory_unit
from reports.statistics.intervals import Interval


@dataclass(frozen=True)
class Measure:
    """A number of a record."""

    path: str
    """Dotted, in the record."""
    title: str
    """With the unit."""
    lower_is_better: bool
    size: float = 1.0
    """What a unit of the axis is, in those of the record."""

    def of(self, row: Row) -> Value | None:
        """A row's mean over its seeds, in the axis' unit."""
        value = row.value(self.path)
        if value is None:
            return None
        ends = value.interval
        scaled = Interval(ends.low / self.size, ends.high / self.size) if ends else None
        return Value(value.mean / self.size, scaled, how=value.how)


def memory(data: Data, phase: str) -> Measure | None:
    """The peak of a phase (`train`, `evaluate`): of tensors where rows have it, else of CUDA memory, else how far the
    resident set grew."""
    for path, title in (
        (f"{phase}_peak", "peak of tensors"),
        (f"memory.{phase}_cuda_allocated", "peak in CUDA memory"),
        (f"memory.{phase}_rss_growth", "memory growth"),
    ):
        values = [value.mean for row in data.rows if (value := row.value(path))]
        if values:
            unit, size = memory_unit(values)
            named = "training" if phase == "train" else "evaluation"
            return Measure(path, f"{named} {title} [{unit}]", True, size)
    return None


def costs(data: Data) -> list[Measure]:
    """Training memory, trainable parameters, speed."""
    measures = (
        memory(data, "train"),
        Measure("parameters.trainable", "trainable parameters", True),
        Measure("throughput.tokens_per_second", "training speed [tokens/s]", False),
    )
    return [measure for measure in measures if measure]


def caption_of(values: Iterable[Value]) -> str:
    """What the bars of costs are, as a sentence; nothing where there are none."""
    text = over_seeds_said(values)
    return f"Bars of costs: {text}." if text else ""
