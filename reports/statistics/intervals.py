"""Summaries over seeds, intervals, and corrections of tests. What is drawn from test examples is in `paired`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist, fmean, stdev
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
"""Of every interval."""
ALPHA = 0.05
"""Of a test, two-sided."""
POWER = 0.8


@dataclass(frozen=True)
class Interval:
    """A 95% interval."""

    low: float
    high: float

    @property
    def contains_zero(self) -> bool:
        """Whether 0 lies in the interval, its ends included."""
        return self.low <= 0.0 <= self.high


How = Literal["t", "log t", "range"]
"""Of an interval over seeds: Student's t; the same of logarithms, around a geometric mean; least and largest value."""


@dataclass(frozen=True)
class SeedSummary:
    """A value over the seeds of a row."""

    mean: float
    std: float | None
    """Sample standard deviation (n - 1); None for one seed."""
    interval: Interval | None
    """Of the mean, by Student's t over seeds; None for one seed."""
    n: int
    """Seeds."""
    how: How = "t"
    """What the interval is."""


def seed_summary(values: Sequence[float]) -> SeedSummary:
    """The summary of one value a seed; of at least one."""
    mean, n = fmean(values), len(values)
    if n < 2:
        return SeedSummary(mean, None, None, n)
    std = stdev(values)
    half = t_quantile(n - 1) * std / n**0.5
    return SeedSummary(mean, std, Interval(mean - half, mean + half), n)


def positive_summary(values: Sequence[float]) -> SeedSummary:
    """The same of a quantity that cannot be 0 or less, such as a speed, bytes, a time, a loss or a perplexity, whose t
    interval would reach below 0. The mean is the geometric one, in the middle of an interval of logarithms; of two
    seeds, of which that would span orders of magnitude, and where a value is 0, their range."""
    n = len(values)
    if n < 2 or len(set(values)) == 1:
        return replace(seed_summary(values), how="log t")
    std, ends = stdev(values), Interval(min(values), max(values))
    if ends.low <= 0:
        return SeedSummary(fmean(values), std, ends, n, "range")
    logs = seed_summary([math.log(value) for value in values])
    assert logs.interval is not None
    if n > 2:
        ends = Interval(math.exp(logs.interval.low), math.exp(logs.interval.high))
    return SeedSummary(math.exp(logs.mean), std, ends, n, "log t" if n > 2 else "range")


@cache
def t_quantile(degrees: int) -> float:
    """The quantile of Student's t above which 2.5% lie."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + LEVEL) / 2))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted by Holm for being a family (Holm 1979), in the same order."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def percentile_interval(values: NDArray[np.float64]) -> Interval:
    """The 2.5th and 97.5th percentiles of bootstrapped values."""
    low, high = np.percentile(values, [100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def detectable(examples: float, seeds: Sequence[tuple[float, int]] = ()) -> float:
    """The true difference that the same comparison, made anew with other examples and as many other seeds, tells from 0
    in 80% of cases by a two-sided test at 5%.

    `examples`: the difference's standard error by the choice of examples, which is well known: times the sum of normal
    quantiles (0.975 and 0.8). `seeds`: standard errors over seeds, each with its number of seeds, times `seeds_factor`.
    docs/results/paired_seeds.md has what share such comparisons find where the truth is known.
    """
    normal = NormalDist()
    known = (normal.inv_cdf((1 + LEVEL) / 2) + normal.inv_cdf(POWER)) * examples
    return math.hypot(known, *(seeds_factor(n) * error for error, n in seeds if error > 0))


@cache
def seeds_factor(n: int) -> float:
    """By how many of its standard errors over n seeds a difference must differ from 0 to be found in 80% of cases by
    Student's t over n others: 39 for 2 seeds, 8.8 for 3, 4.7 for 5, 2.8 for ever so many.

    A test finds a difference of d true standard errors by the noncentral t distribution. The true one is not known: it
    is averaged over what the n seeds leave open, chi-square with n - 1 degrees of freedom.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi2, nct

    degrees, grid = n - 1, (np.arange(500) + 0.5) / 500
    true = np.sqrt(chi2.ppf(grid, degrees) / degrees)  # errors as they are told, in true ones
    return float(brentq(lambda k: nct.sf(t_quantile(degrees), degrees, k * true).mean() - POWER, 1, 100))
