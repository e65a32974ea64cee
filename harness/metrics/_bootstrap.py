"""How far a score would move with other examples of the same kind: percentile intervals of a bootstrap."""

from __future__ import annotations

import numpy as np

from harness.metrics import Score

RESAMPLES, SEED = 1000, 12345
"""As in the tables of `reports`."""
MEAN_TOLERANCE = 1e-6
"""A score is the mean of its examples' where the two differ by less, relative to the larger."""


def interval(score: Score) -> tuple[float, float] | None:
    """The ends of a 95% interval, in the unit of the score's value; the same draws for every score.

    From sums of resampled statistics or means of resampled examples; None for a score that is made of neither.
    """
    if score.value is None:
        return None
    if score.statistics is not None and score.of_sums is not None:
        sums = _resampled(np.array(score.statistics, dtype=np.float64))
        values = np.array([score.of_sums(row) for row in sums.tolist()])
    elif score.examples is not None and np.isclose(np.mean(score.examples), score.value, rtol=MEAN_TOLERANCE):
        values = _resampled(np.array(score.examples)[:, None])[:, 0] / len(score.examples)
    else:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _resampled(rows: np.ndarray) -> np.ndarray:
    """Sums of rows, [resamples, width], over as many examples drawn with replacement."""
    generator, items = np.random.default_rng(SEED), len(rows)
    drawn = (generator.integers(0, items, size=items) for _ in range(RESAMPLES))
    return np.stack([np.bincount(each, minlength=items) @ rows for each in drawn])
