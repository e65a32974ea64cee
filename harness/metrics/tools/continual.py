"""What a sequence of tasks did to each of them, as the literature on continual learning defines it.

`scores[i][j]` is the score on task j after training on task i, both counted from 0: a matrix of T rows and T columns
where tasks are trained in their own order. Higher is better. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

Matrix = Sequence[Sequence[float]]


def average_score(scores: Matrix) -> float:
    """Mean over all tasks after the last: ACC of Lopez-Paz & Ranzato 2017 (https://arxiv.org/abs/1706.08840)."""
    return fmean(scores[-1])


def backward_transfer(scores: Matrix) -> float:
    """Mean over the tasks before the last of their score at the end minus that right after training on them.

    BWT of Lopez-Paz & Ranzato 2017. Negative: later tasks did harm. Raises ValueError for fewer than two tasks.
    """
    _several(scores)
    return fmean(scores[-1][i] - scores[i][i] for i in range(len(scores) - 1))


def forward_transfer(scores: Matrix, untrained: Sequence[float]) -> float:
    """Mean over the tasks after the first of their score right before training on them minus the untrained model's.

    FWT of Lopez-Paz & Ranzato 2017, whose untrained model is at its random start; here it is the base. Raises
    ValueError for fewer than two tasks.
    """
    _several(scores)
    return fmean(scores[i - 1][i] - untrained[i] for i in range(1, len(scores)))


def forgetting(scores: Matrix) -> list[float]:
    """For each task before the last, its best score after any earlier task minus that at the end.

    f of Chaudhry et al. 2018 (https://arxiv.org/abs/1801.10112). Negative where the last task helped. Raises
    ValueError for fewer than two tasks.
    """
    _several(scores)
    return [max(row[j] for row in scores[:-1]) - scores[-1][j] for j in range(len(scores) - 1)]


def average_forgetting(scores: Matrix) -> float:
    """Mean of `forgetting`: F of Chaudhry et al. 2018. Raises ValueError for fewer than two tasks."""
    return fmean(forgetting(scores))


def _several(scores: Matrix) -> None:
    if len(scores) < 2 or any(len(row) != len(scores) for row in scores):
        raise ValueError("needs a square matrix of at least two tasks")
