"""Scores of predicted classes: accuracy, F1 and Matthews' correlation, by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.metrics import Score, ratio


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`accuracy`, `macro_f1`, `f1` (of the positive one of two classes), `matthews`; 0 to 1, Matthews' -1 to 1.

    White space around a prediction does not count. An item has one class, its first reference. Statistics of an item:
    for each class of the references whether it is right (true positive), predicted, expected; then 1.
    """
    expected = [group[0].strip() for group in references]
    answers = [text.strip() for text in predictions]
    classes = sorted(set(expected))
    rows = tuple(
        (*(float(x) for c in classes for x in (p == c and e == c, p == c, e == c)), 1.0)
        for p, e in zip(answers, expected, strict=True)
    )
    right = tuple(float(p == e) for p, e in zip(answers, expected, strict=True))
    library = f"scikit-learn:{version('scikit-learn')}"
    known = {
        "accuracy": Score(accuracy(answers, expected), "accuracy|equal texts", right),
        "macro_f1": Score(
            macro_f1(answers, expected, classes),
            f"f1|mean over the references' classes|{library}",
            None,
            rows,
            macro_f1_of_sums,
        ),
    }
    positive = positive_class(classes)
    if positive is None:
        reason = f"needs two classes in the references, which have {len(classes)}"
        return known | {
            "f1": Score(None, f"f1|{library}", reason=reason),
            **matthews(answers, expected, rows, library),
        }
    from sklearn.metrics import f1_score

    value = float(f1_score([e == positive for e in expected], [p == positive for p in answers], zero_division=0.0))
    chosen = tuple(row[3 * classes.index(positive) : 3 * classes.index(positive) + 3] for row in rows)
    known["f1"] = Score(value, f"f1|positive:{positive}|{library}", None, chosen, f1_of_sums)
    return known | matthews(answers, expected, rows, library)


def matthews(
    answers: Sequence[str], expected: Sequence[str], rows: tuple[tuple[float, ...], ...], library: str
) -> dict[str, Score]:
    """Matthews' correlation; answers that are no class of the references are one class of their own."""
    from sklearn.metrics import matthews_corrcoef

    classes = set(expected)
    value = float(matthews_corrcoef(expected, [p if p in classes else "\0" for p in answers]))
    return {"matthews": Score(value, f"matthews|{library}", None, rows, matthews_of_sums)}


def positive_class(classes: Sequence[str]) -> str | None:
    """Of two classes the one without `not`, `non` or `un` in front where the other has it, else the last by alphabet
    (1 of 0 and 1, yes of no and yes); None where there are not two."""
    if len(classes) != 2:
        return None
    plain = [name for name in classes if not name.lower().startswith(("not", "non", "un"))]
    return plain[0] if len(plain) == 1 else sorted(classes)[-1]


def f1_of_sums(sums: ArrayLike) -> NDArray[np.float64]:
    """F1 = 2 TP / (predicted + expected) of one class's sums, 0 where it never occurs."""
    hits, predicted, expected = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    return ratio(2 * hits, predicted + expected)


def _by_class(sums: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of each class, [..., classes, 3], and of items."""
    rows = np.asarray(sums, dtype=np.float64)
    return rows[..., :-1].reshape(*rows.shape[:-1], -1, 3), rows[..., -1]


def macro_f1_of_sums(sums: ArrayLike) -> NDArray[np.float64]:
    """Mean of the classes' F1."""
    mean: NDArray[np.float64] = f1_of_sums(_by_class(sums)[0]).mean(axis=-1)
    return mean


def matthews_of_sums(sums: ArrayLike) -> NDArray[np.float64]:
    """Matthews' correlation of several classes (Gorodkin 2004) from the classes' sums; 0 where it is not defined."""
    classes, items = _by_class(sums)
    right, predicted, expected = np.moveaxis(classes, -1, 0)
    none = items - predicted.sum(axis=-1)  # answers that are no class
    spread = (items**2 - (predicted**2).sum(axis=-1) - none**2) * (items**2 - (expected**2).sum(axis=-1))
    above = right.sum(axis=-1) * items - (predicted * expected).sum(axis=-1)
    return ratio(above, np.sqrt(np.maximum(spread, 0.0)))


OF_SUMS = {"f1": f1_of_sums, "macro_f1": macro_f1_of_sums, "matthews": matthews_of_sums}


def accuracy(predictions: Sequence[str], expected: Sequence[str]) -> float:
    """Share of right predictions, 0 to 1."""
    return fmean(p == e for p, e in zip(predictions, expected, strict=True))


def macro_f1(predictions: Sequence[str], expected: Sequence[str], classes: Sequence[str] | None = None) -> float:
    """Mean over `classes` (None: those that occur) of F1 = 2 TP / (2 TP + FP + FN), 0 to 1."""
    from sklearn.metrics import f1_score

    return float(f1_score(expected, predictions, labels=classes, average="macro", zero_division=0.0))
