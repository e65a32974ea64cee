"""Scores of predicted classes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean


def accuracy(predictions: Sequence[str], expected: Sequence[str]) -> float:
    """Share of right predictions, 0 to 1."""
    return fmean(p == e for p, e in zip(predictions, expected, strict=True))


def macro_f1(predictions: Sequence[str], expected: Sequence[str]) -> float:
    """Mean over the classes that occur of F1 = 2 TP / (2 TP + FP + FN), 0 to 1, by scikit-learn."""
    from sklearn.metrics import f1_score

    return float(f1_score(expected, predictions, average="macro"))
