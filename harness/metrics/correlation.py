"""Pearson's and Spearman's correlation of predicted and expected numbers, by scipy."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import UserError
from harness.metrics import Score, ratio


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`pearson`, `spearman`, -1 to 1, with the first reference. Null where a prediction is no number, or all are one.

    Statistics of an item for `pearson`: prediction x, reference y, xx, yy, xy, 1. Raises UserError for a reference that
    is no number.
    """
    from scipy.stats import pearsonr, spearmanr

    expected = [_number(group[0]) for group in references]
    if None in expected:
        item = expected.index(None)
        raise UserError(
            f"metric correlation: the reference of item {item + 1} is no number: {references[item][0][:40]}"
        )
    answers = [_number(text) for text in predictions]
    library = f"scipy:{version('scipy')}"
    x, y = [n for n in answers if n is not None], [n for n in expected if n is not None]
    reason = None
    if len(x) < len(y):
        reason = f"{len(y) - len(x)} of {len(y)} predictions are no numbers"
    elif len(set(x)) < 2 or len(set(y)) < 2:
        reason = "all predictions or all references are one number"
    if reason:
        return {name: Score(None, f"{name}|{library}", reason=reason) for name in ("pearson", "spearman")}
    rows = tuple((a, b, a * a, b * b, a * b, 1.0) for a, b in zip(x, y, strict=True))
    return {
        "pearson": Score(float(pearsonr(x, y).statistic), f"pearson|{library}", None, rows, of_sums),
        "spearman": Score(float(spearmanr(x, y).statistic), f"spearman|{library}"),
    }


def of_sums(sums: ArrayLike) -> NDArray[np.float64]:
    """Pearson's correlation of summed statistics; 0 where it is not defined."""
    x, y, xx, yy, xy, n = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    return ratio(n * xy - x * y, np.sqrt(np.maximum((n * xx - x * x) * (n * yy - y * y), 0.0)))


OF_SUMS = {"pearson": of_sums}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None
