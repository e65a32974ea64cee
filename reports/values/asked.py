"""What a table is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict

from reports.read.runs import Sweep
from reports.statistics.verdicts import Comparison, compare


class Options(TypedDict, total=False):
    """How a sweep's rows are to be compared."""

    score: str | None
    """None: accuracy, BLEU or the task's first."""
    allow: Sequence[str]
    """Fields of the key in which rows may differ."""
    columns: Sequence[str]
    """Those that are shown alone; empty: all."""
    reach: float | None
    """A validation loss: what it took to come down to it."""


@dataclass
class Asked:
    """A sweep, and how its rows are to be compared."""

    sweep: Sweep
    options: Options

    @cached_property
    def comparison(self) -> Comparison:
        """What the test examples tell apart. Raises UserError."""
        return compare(self.sweep, self.options.get("score"), self.options.get("allow", ()))
