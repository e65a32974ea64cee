"""How far a score would move with other examples of the same kind: a bootstrap over examples."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.metrics import OfSums, Score

RESAMPLES, SEED = 1000, 12345
"""The seed is fixed, so that a report of the same records is the same text."""
MEAN_TOLERANCE = 1e-6
"""A score is the mean of its examples' where the two differ by less, relative to the larger."""


def interval(score: Score) -> tuple[float, float] | None:
    """The ends of a 95% interval, in the unit of the score's value; the same draws for every score.

    From sums of resampled statistics or means of resampled examples; None for a score that is made of neither.
    """
    if score.value is None:
        return None
    if score.statistics is not None and score.of_sums is not None:
        values = resampled(score.statistics, score.of_sums)
    elif score.examples is not None and np.isclose(np.mean(score.examples), score.value, rtol=MEAN_TOLERANCE):
        values = resampled(np.array(score.examples)[:, None], None)
    else:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def resampled(rows: ArrayLike, of_sums: OfSums | None) -> NDArray[np.float64]:
    """A score of each resample, [..., resamples]. `rows`: [..., examples, statistics], or [..., examples, 1] of the
    examples' own scores where the score is their mean (`of_sums` None)."""
    table = np.asarray(rows, dtype=np.float64)
    examples = table.shape[-2]
    sums = draws(examples) @ table
    return sums[..., 0] / examples if of_sums is None else of_sums(sums)


@lru_cache(maxsize=2)
def draws(examples: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """How often each example is in each resample, [resamples, examples]. The same draws for every system are what makes
    differences of their scores paired (Koehn 2004, https://aclanthology.org/W04-3250)."""
    generator = np.random.default_rng(SEED)
    drawn = np.empty((resamples, examples))
    for row in drawn:
        row[:] = np.bincount(generator.integers(0, examples, size=examples), minlength=examples)
    drawn.flags.writeable = False
    return drawn
