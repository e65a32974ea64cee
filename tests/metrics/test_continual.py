"""Measures of a sequence of tasks, on a matrix worked out by hand."""

from __future__ import annotations

import pytest

from harness.metrics.tools import continual

SCORES = [
    [0.9, 0.2, 0.1],
    [0.6, 0.8, 0.3],
    [0.5, 0.9, 0.7],
]
UNTRAINED = [0.1, 0.1, 0.2]


def test_three_tasks() -> None:
    """After the last: 0.5, 0.9, 0.7. Task 1 falls from 0.9 by 0.4, task 2 rises from 0.8 by 0.1."""
    assert continual.average_score(SCORES) == pytest.approx((0.5 + 0.9 + 0.7) / 3)
    assert continual.backward_transfer(SCORES) == pytest.approx(((0.5 - 0.9) + (0.9 - 0.8)) / 2)
    assert continual.forgetting(SCORES) == pytest.approx([0.9 - 0.5, 0.8 - 0.9])
    assert continual.average_forgetting(SCORES) == pytest.approx((0.4 - 0.1) / 2)
    # Before their own training: task 2 at 0.2 against 0.1, task 3 at 0.3 against 0.2.
    assert continual.forward_transfer(SCORES, UNTRAINED) == pytest.approx(0.1)


def test_forgetting_is_from_the_best_and_backward_transfer_from_ones_own() -> None:
    """Task 1 is best after task 2 (0.95): it lost 0.45 from there, and 0.3 since it was trained on."""
    scores = [[0.8, 0.0, 0.0], [0.95, 0.5, 0.0], [0.5, 0.5, 0.5]]
    assert continual.forgetting(scores) == pytest.approx([0.45, 0.0])
    assert continual.backward_transfer(scores) == pytest.approx((-0.3 + 0.0) / 2)


@pytest.mark.parametrize("measure", [continual.backward_transfer, continual.average_forgetting, continual.forgetting])
@pytest.mark.parametrize("scores", [[[0.5]], [[0.5, 0.5]], [[0.5, 0.5], [0.5]]])
def test_one_task_is_no_sequence(measure: object, scores: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="at least two tasks"):
        measure(scores)  # type: ignore[operator]
