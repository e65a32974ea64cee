"""Scores of predicted classes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean


def accuracy(predictions: Sequence[str], expected: Sequence[str]) -> float:
    """Share of right predictions, 0 to 1."""
    return fmean(p == e for p, e in zip(predictions, expected, strict=True))


def macro_f1(predictions: Sequence[str], expected: Sequence[str]) -> float:
    """Mean over the classes that occur of F1 = 2 TP / (2 TP + FP + FN), 0 to 1.

    As scikit-learn's `f1_score(average="macro")`, which the tests hold it to; not worth that dependency at run time.
    """
    pairs = list(zip(predictions, expected, strict=True))
    scores = []
    for name in {*predictions, *expected}:
        right = sum(p == e == name for p, e in pairs)
        wrong = sum((p == name) != (e == name) for p, e in pairs)
        scores.append(2 * right / (2 * right + wrong))
    return fmean(scores)
