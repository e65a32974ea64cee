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

from harness.errors import UserError, first_line, nearest
from harness.metrics.tools.sandbox import ASK
from harness.metrics.tools.sandbox import FAMILIES as CODE
from harness.places import extend
from harness.results.sections import Better

extend("metrics", __path__)

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
    return sorted(path.stem for folder in __path__ for path in Path(folder).glob("[!_]*.py"))


def of_sums(score: str) -> OfSums | None:
    """How the score of this name is made of its summed statistics; None where it is not made of sums.

    A family says so of its scores in `OF_SUMS`; nothing is scored, and Java is not needed.
    """
    for family in families():
        by_score: dict[str, OfSums] = getattr(importlib.import_module(f"harness.metrics.{family}"), "OF_SUMS", {})
        if score in by_score:
            return by_score[score]
    return None


def ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """`above / below`, 0 where `below` is 0."""
    return np.divide(above, below, out=np.zeros(np.broadcast_shapes(above.shape, below.shape)), where=below != 0)


def compute(
    names: Sequence[str],
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    sources: Sequence[str] | None = None,
    run_code: bool = False,
) -> dict[str, Score]:
    """The scores of these families: one prediction and at least one reference an example.

    `sources`, the inputs, are needed by families that look at them (`slots`, `surface`). `run_code`: predictions may be
    run, in a sandbox. Raises UserError for an unknown family, one that runs predictions where they may not be run,
    unequal counts, and an example without references; MetricFailed where a family raises an error or gives what are no
    scores.
    """
    known = families()
    if unknown := [name for name in names if name not in known]:
        raise UserError(*(f"metric {name}: there is none of that name; {nearest(name, known)}" for name in unknown))
    if not run_code and (running := [name for name in names if name in CODE]):
        raise UserError(f"metric {running[0]}: {ASK}")
    check(predictions, references)
    scores: dict[str, Score] = {}
    for name in names:
        try:
            more = importlib.import_module(f"harness.metrics.{name}").compute(predictions, references, sources)
        except UserError:
            raise
        except Exception as error:  # of whatever a family does: which one it was is what one wants to know
            raise MetricFailed(f"metric {name}: {type(error).__name__}: {first_line(error)}") from error
        if why := _no_scores(more, len(predictions)) or _twice(more, scores):
            raise MetricFailed(f"metric {name}: {why}")
        scores |= more
    return scores


class MetricFailed(UserError):
    """A family of scores that raised an error, or gave what are no scores."""


def _no_scores(scores: object, examples: int) -> str | None:
    """Why what a family gave are no scores of so many examples."""
    if not isinstance(scores, dict) or not all(isinstance(name, str) for name in scores):
        return f"gave {type(scores).__name__}, and not scores by their names"
    for name, one in scores.items():
        if not isinstance(one, Score):
            return f"gave {type(one).__name__} for {name}, and not a Score"
        if not isinstance(one.value, float | int | None):
            return f"{name} has a value of type {type(one.value).__name__}, and not a number or None"
        for what in ("examples", "statistics"):
            parts = getattr(one, what)
            if parts is not None and len(parts) != examples:
                return f"{name} has {len(parts)} {what} for {examples} predictions"
    return None


def _twice(more: dict[str, Score], scores: dict[str, Score]) -> str | None:
    """Why scores cannot stand beside those of other families."""
    both = sorted(more.keys() & scores.keys())
    return f"gives {', '.join(both)}, as another family does; name one of them" if both else None


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
