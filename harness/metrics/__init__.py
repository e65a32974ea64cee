"""Scores of predictions against references: a file is a family of scores, but for files whose name begins with `_`.

Each family has `compute(predictions, references, sources) -> {name: Score}`; `compute` here asks several at once.
Imports neither torch nor Hydra.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import UserError, nearest
from harness.sections import Better

OfSums = Callable[[ArrayLike], NDArray[np.float64]]
"""Scores, shape [...], of statistics summed over examples, shape [..., statistics]."""


@dataclass(frozen=True)
class Score:
    """One score of all predictions, with what it is made of."""

    value: float | None
    """In the unit of records: percent where `official` is 0.01, else the scorer's own. None: see `reason`."""
    signature: str
    """Which definition, settings, library and version."""
    examples: tuple[float, ...] | None = None
    """The same score of each example alone, where that is defined; in the unit of `value`."""
    statistics: tuple[tuple[float, ...], ...] | None = None
    """For each example the counts whose sums over examples make `value`, where it is made of sums."""
    of_sums: OfSums | None = None
    """`value` from summed `statistics`."""
    reason: str | None = None
    """Why `value` is None."""
    official: float = 1.0
    """Times `value`: what the official scorer prints."""
    better: Better = "higher"
    """Which values are better; tables, pages, figures and the regression gate go by it."""


def families() -> list[str]:
    """The families of scores, by name."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def of_sums(score: str) -> OfSums | None:
    """How the score of this name is made of its summed statistics; None where it is not made of sums.

    A family says so of its scores in `OF_SUMS`; nothing is scored, and Java is not needed.
    """
    for family in families():
        found: dict[str, OfSums] = getattr(importlib.import_module(f"harness.metrics.{family}"), "OF_SUMS", {})
        if score in found:
            return found[score]
    return None


def ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """`above / below`, 0 where `below` is 0."""
    return np.divide(above, below, out=np.zeros(np.broadcast_shapes(above.shape, below.shape)), where=below != 0)


def compute(
    names: Sequence[str],
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    sources: Sequence[str] | None = None,
) -> dict[str, Score]:
    """The scores of these families: one prediction and at least one reference an example.

    `sources`, the inputs, are needed by families that look at them (`slots`, `surface`).
    Raises UserError for an unknown family, unequal counts, and an example without references.
    """
    known = families()
    if unknown := [name for name in names if name not in known]:
        raise UserError(*(f"metric {name}: there is none of that name; {nearest(name, known)}" for name in unknown))
    check(predictions, references)
    found: dict[str, Score] = {}
    for name in names:
        found |= importlib.import_module(f"harness.metrics.{name}").compute(predictions, references, sources)
    return found


def check(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Raise UserError unless there is one prediction, and a reference or more, for each of one or more examples."""
    if len(predictions) != len(references):
        raise UserError(
            f"{len(predictions)} predictions for {len(references)} groups of references; give one for each group"
        )
    if not references:
        raise UserError("there is nothing to score: no predictions and no references")
    if not all(references):
        item = [bool(group) for group in references].index(False) + 1
        raise UserError(f"item {item} has no references; give it one or leave the item out")
