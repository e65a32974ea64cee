"""What a comparison consists of: a row a test, and what could not be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["parameters", "memory", "throughput", "quality"]
KINDS: tuple[Kind, ...] = ("parameters", "memory", "throughput", "quality")
Verdict = Literal["regression", "moved", "improvement", "same", "not compared"]
"""`moved`: the run is another computation than before, whether better or worse."""
FAILING: tuple[Verdict, ...] = ("regression", "moved")


@dataclass(frozen=True)
class Row:
    """One test."""

    kind: Kind
    run: str
    """Its name, or how many the test is over."""
    measure: str
    verdict: Verdict
    before: float | None = None
    after: float | None = None
    p: float | None = None
    """Adjusted for its family, one-sided."""
    note: str = ""
    """What the test was, or why there was none."""

    @property
    def noisy(self) -> bool:
        """A second measurement may say otherwise."""
        return self.p is not None and self.kind in ("memory", "throughput")


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared."""

    rows: tuple[Row, ...]
    versions: tuple[tuple[str, str, str], ...]
    """Libraries whose version changed: name, before, now."""
    alpha: float
    remarks: tuple[str, ...]
    """What of the runs was not compared and why, and how small a change could have been seen."""
    absent: tuple[tuple[str, str], ...] = ()
    """Runs that only one side has: name, why."""

    def of(self, *verdicts: Verdict) -> list[Row]:
        """The rows of these verdicts, in their order."""
        return [row for verdict in verdicts for row in self.rows if row.verdict == verdict]
