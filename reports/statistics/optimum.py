"""Where a loss is lowest along a rate: a parabola in the logarithm of the rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from reports.statistics.intervals import Interval, seed_summary

NEAR = 0.51
"""Decades to either side of the best rate within which losses are fitted, besides those of the two rates beside it:
further out they are no parabola, since they rise as a wall where training diverges."""


@dataclass(frozen=True)
class Optimum:
    """The rate of the lowest loss."""

    rate: float
    interval: Interval | None
    """95%, Student's t over the seeds' own optima, in the logarithm; None of one seed."""
    seeds: int
    """Those of which an optimum is known."""


def vertex(losses: Mapping[float, float]) -> float | None:
    """The rate at the lowest point of a parabola in the logarithm of the rate, least squares over what lies near the
    best rate. None where there are fewer than three, the best is the outermost, or they do not bend upwards."""
    rates = sorted(rate for rate, loss in losses.items() if math.isfinite(loss))
    if len(rates) < 3:
        return None
    best = min(rates, key=losses.__getitem__)
    place = rates.index(best)
    if best in (rates[0], rates[-1]):
        return None
    near = [r for i, r in enumerate(rates) if abs(i - place) == 1 or abs(math.log10(r / best)) <= NEAR]
    at = np.log10(near)
    bend, slope, _ = np.polyfit(at, [losses[rate] for rate in near], 2)
    return float(10 ** min(max(-slope / (2 * bend), at[0]), at[-1])) if bend > 0 else None


def optimum(losses: Mapping[float, Mapping[str, float]]) -> Optimum | None:
    """`losses`: by rate and seed. None where no seed has an optimum."""
    seeds = dict.fromkeys(seed for each in losses.values() for seed in each)
    curves = [{rate: each[seed] for rate, each in losses.items() if seed in each} for seed in seeds]
    known = [math.log10(rate) for curve in curves if (rate := vertex(curve)) is not None]
    if not known:
        return None
    interval = seed_summary(known).interval if len(known) > 1 else None
    ends = Interval(10**interval.low, 10**interval.high) if interval else None
    return Optimum(10 ** fmean(known), ends, len(known))
