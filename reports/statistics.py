"""Corpus BLEU from summed counts, and the paired bootstrap over test examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU

RESAMPLES = 1000
SEED = 12345
"""Of the bootstrap; fixed, so that a report of the same records is the same text."""
CHUNK = 4_000_000
"""Drawn indices held in memory at a time."""


@dataclass(frozen=True)
class Interval:
    """A 95% percentile interval."""

    low: float
    high: float

    @property
    def contains_zero(self) -> bool:
        """Whether 0 lies in the interval, its ends included."""
        return self.low <= 0.0 <= self.high


def bleu_of_sums(sums: Sequence[float] | NDArray[np.float64] | NDArray[np.int64]) -> float:
    """Corpus BLEU, 0 to 100, of statistics summed over examples: [sys_len, ref_len, matches x 4, totals x 4].

    The formula is sacrebleu's own with its default smoothing (exp), so the score equals `sacrebleu.corpus_bleu`.
    """
    counts = [round(float(value)) for value in sums]
    return float(BLEU.compute_bleu(counts[2:6], counts[6:10], counts[0], counts[1], smooth_method="exp").score)


def resampled_sums(
    statistics: NDArray[np.int64] | NDArray[np.float64], resamples: int = RESAMPLES, seed: int = SEED
) -> NDArray[np.float64]:
    """Sums of `statistics`, shape (systems, examples, width), over examples drawn with replacement.

    Returns shape (systems, resamples, width). Every system gets the same draws, which is what makes differences of its
    rows paired (Koehn 2004, https://aclanthology.org/W04-3250).
    """
    systems, examples, width = statistics.shape
    flat = np.ascontiguousarray(statistics.transpose(1, 0, 2).reshape(examples, systems * width), dtype=np.float64)
    generator = np.random.default_rng(seed)
    parts = []
    for start in range(0, resamples, step := max(1, CHUNK // examples)):
        rows = min(step, resamples - start)
        drawn = generator.integers(0, examples, size=(rows, examples)) + np.arange(rows)[:, None] * examples
        times = np.bincount(drawn.ravel(), minlength=rows * examples).reshape(rows, examples)
        parts.append(times.astype(np.float64) @ flat)
    return np.concatenate(parts).reshape(resamples, systems, width).transpose(1, 0, 2)


def resampled_bleu(statistics: NDArray[np.int64]) -> NDArray[np.float64]:
    """BLEU, shape (systems, resamples), of statistics of shape (systems, examples, 10) under shared draws."""
    sums = resampled_sums(statistics)
    return np.array([[bleu_of_sums(resample) for resample in system] for system in sums])


def percentile_interval(values: NDArray[np.float64]) -> Interval:
    """The 2.5th and 97.5th percentiles of bootstrapped values."""
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))
