"""How well stated probabilities fit what happens: expected calibration error, Brier score, reliability bins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, isclose
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import UserError
from harness.metrics import Score

BINS = 15
"""Of equal width, as Guo et al. 2017 (https://arxiv.org/abs/1706.04599) take them."""


@dataclass(frozen=True)
class Bin:
    """The items whose most likely class has a probability above `low`, up to `high`."""

    low: float
    high: float
    items: int
    confidence: float | None
    """Mean probability of the most likely class; None without items."""
    accuracy: float | None
    """Share of items whose most likely class is right; None without items."""


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`ece`, 0 to 1, and `brier`, 0 to 2; 0 is best. A prediction is a JSON object: class to probability.

    Raises UserError for a prediction that is none, or whose probabilities do not add up to 1.
    """
    return scores([_parsed(item, text) for item, text in enumerate(predictions, 1)], [g[0] for g in references])


def scores(probabilities: Sequence[Mapping[str, float]], expected: Sequence[str]) -> dict[str, Score]:
    """`ece` and `brier` of each item's probabilities and its class. A class that is not named has probability 0.

    `ece`: |accuracy - confidence| of each bin, weighed by its items. Statistics of an item: for each bin whether it is
    in it, its confidence there, whether it is right there; see `reliability`.
    `brier`: mean over items of the sum over classes of squared differences (Brier 1950).
    """
    rows, squares = [], []
    for named, label in zip(probabilities, expected, strict=True):
        best = max(named, key=lambda name: named[name])
        confidence = named[best]
        place = min(max(ceil(confidence * BINS) - 1, 0), BINS - 1)
        row = [0.0] * (3 * BINS)
        row[3 * place : 3 * place + 3] = [1.0, confidence, float(best == label)]
        rows.append(tuple(row))
        squares.append(sum((p - (name == label)) ** 2 for name, p in named.items()) + (label not in named))
    return {
        "ece": Score(
            float(of_sums(np.sum(rows, axis=0))),
            f"ece|bins:{BINS}|width:equal|class:most likely",
            None,
            tuple(rows),
            of_sums,
            better="lower",
        ),
        "brier": Score(fmean(squares), "brier|sum over classes", tuple(squares), better="lower"),
    }


def of_sums(sums: ArrayLike) -> NDArray[np.float64]:
    """The expected calibration error of summed statistics."""
    items, confidence, right = np.moveaxis(
        np.asarray(sums, dtype=np.float64).reshape(*np.shape(sums)[:-1], BINS, 3), -1, 0
    )
    error: NDArray[np.float64] = np.abs(right - confidence).sum(axis=-1) / items.sum(axis=-1)
    return error


OF_SUMS = {"ece": of_sums}


def reliability(score: Score) -> list[Bin]:
    """The bins of a reliability diagram, from the `ece` of `scores`."""
    assert score.statistics is not None, "only ece has bins"
    sums = [sum(column) for column in zip(*score.statistics, strict=True)]
    bins = []
    for i in range(BINS):
        items, confidence, right = sums[3 * i : 3 * i + 3]
        means = (confidence / items, right / items) if items else (None, None)
        bins.append(Bin(i / BINS, (i + 1) / BINS, round(items), *means))
    return bins


def from_log_likelihoods(logs: Mapping[str, float], lengths: Mapping[str, int] | None = None) -> dict[str, float]:
    """Probabilities of classes from the log-likelihoods of their texts, in nats: the softmax over the classes.

    `lengths`, in tokens: each log-likelihood is divided by its text's length first, so that long names are no worse.
    """
    each = {name: log / lengths[name] if lengths else log for name, log in logs.items()}
    highest = max(each.values())
    weights = {name: exp(log - highest) for name, log in each.items()}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def _parsed(item: int, text: str) -> dict[str, float]:
    try:
        named = {name: float(p) for name, p in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        raise UserError(f'metric calibration: prediction {item} is no object like {{"yes": 0.8, "no": 0.2}}') from None
    if not named or min(named.values()) < 0 or not isclose(sum(named.values()), 1, abs_tol=0.01):
        raise UserError(f"metric calibration: the probabilities of prediction {item} do not add up to 1")
    return named
