"""A fitting test for each kind of measure. docs/regressions.md says what each is and how often it errs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median

import numpy as np
from scipy.stats import binomtest
from scipy.stats import t as student

from harness.metrics import of_sums
from harness.metrics.tools.bootstrap import resampled
from reports.gate.entries import Entry
from reports.statistics.paired import SHUFFLES, Sampled, randomized

NORMAL_SCALE = 1.0483
"""Times the median distance of two values of one normal distribution: its standard deviation. (The distance is normal
with √2 of that, and the median of its absolute value 0.6745 of its deviation.)"""
MEDIAN_ERROR = 1.2533
"""Times the standard deviation over √n: the standard error of a median, √(π/2), at large n; at small n it is less."""
FEWEST = 3
"""Repeats on each side that a noisy measure needs."""
SUITE = 4
"""Runs from which on they are judged together too."""
NOISIER = 3.0
"""Times the noise of all runs, above which a run is judged by its own."""
EFFICIENCY = 0.37
"""Of the median absolute deviation beside the standard deviation, under normal noise."""
MORE_SHUFFLES = 200_000
"""Of approximate randomization, where none of the first did as much."""
TIE = 1e-3
"""Relative difference of a score up to which it did not move: rounding on another processor, or in another version of a
library, may move all runs the same way, since they share their base."""


@dataclass(frozen=True)
class Shift:
    """How far a noisy measure went from one side to the other."""

    ratio: float
    """Median now over median before, less 1."""
    error: float
    """Standard error of the logarithm of the ratio."""
    degrees: int
    """Of Student's t."""

    def p(self, sign: int) -> float:
        """One-sided: how likely noise alone goes as far in the direction `sign`."""
        moved = sign * math.log1p(self.ratio)
        if self.error == 0.0:
            return 0.0 if moved > 0 else 1.0
        return float(student.sf(moved / self.error, self.degrees))

    def visible(self, p: float) -> float:
        """The smallest change that would have a p-value below `p`, as a share."""
        return math.expm1(self.error * float(student.isf(p, self.degrees)))


def spread(repeats: Sequence[Sequence[float]]) -> float:
    """Standard deviation of a measure over repeats: NORMAL_SCALE times the median distance of two repeats of one side,
    over all sides. As the median absolute deviation it is not moved by a few outliers; unlike it, it is not too small
    for three repeats."""
    apart = [abs(a - b) for values in repeats for a, b in combinations(values, 2)]
    return NORMAL_SCALE * median(apart) if apart else 0.0


@dataclass(frozen=True)
class Shifts:
    """Of a measure in several runs, whose repeats are taken in rounds."""

    suite: Shift | None
    """What the runs have in common; None for fewer than SUITE runs."""
    runs: tuple[Shift, ...]
    """Of each run, beside what they have in common."""


def shifts(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> Shifts:
    """The shift of each run from its repeats before to those after, all positive, FEWEST or more on each side.

    What a round of repeats has in common (a machine that is slower for a while) is no noise of the single run: it is
    taken out of them, and the rounds are the sample by which the suite is judged.
    """
    old, new = ([[math.log(value) for value in values] for values in side] for side in (before, after))
    if len(old) < SUITE:
        return Shifts(None, tuple(_shift(a, b, 0.0, 0) for a, b in zip(old, new, strict=True)))
    centres = [median(values) for values in old]
    rounds = _rounds(old, centres), _rounds(new, centres)
    old, new = (
        [[value - common[r] for r, value in enumerate(values)] for values in side]
        for side, common in zip((old, new), rounds, strict=True)
    )
    common = spread([*old, *new])
    degrees = math.floor(EFFICIENCY * sum(len(values) - 1 for values in [*old, *new]))
    return Shifts(
        _shift(rounds[0], rounds[1], 0.0, 0),
        tuple(_shift(a, b, common, degrees) for a, b in zip(old, new, strict=True)),
    )


def _rounds(side: Sequence[Sequence[float]], centres: Sequence[float]) -> list[float]:
    """By round: the median over the runs of how far they are from their centres."""
    return [
        median(values[r] - centre for values, centre in zip(side, centres, strict=True) if r < len(values))
        for r in range(max(map(len, side)))
    ]


def _deviation(old: Sequence[float], new: Sequence[float]) -> float:
    """Pooled standard deviation: a robust one of so few would often be far too small."""
    squares = sum((value - fmean(side)) ** 2 for side in (old, new) for value in side)
    return math.sqrt(squares / (len(old) + len(new) - 2))


def _shift(old: Sequence[float], new: Sequence[float], common: float, degrees: int) -> Shift:
    """Of logarithms; by the noise that the runs have in common, unless this one's is clearly larger."""
    own = _deviation(old, new)
    if own > NOISIER * common:
        degrees = len(old) + len(new) - 2
    error = MEDIAN_ERROR * max(own, common) * math.sqrt(1 / len(old) + 1 / len(new))
    return Shift(math.expm1(median(new) - median(old)), error, max(degrees, len(old) + len(new) - 2))


@dataclass(frozen=True)
class Change:
    """Of a score, paired over test examples."""

    value: float
    p: float
    """Two-sided, by approximate randomization; halved for one direction."""


def paired(before: Entry, after: Entry, score: str) -> Change:
    """The change of a score whose examples both sides have."""
    old, new = _sampled(before, score), _sampled(after, score)
    p = randomized(new, old)
    if p <= 1 / (1 + SHUFFLES):
        p = randomized(new, old, MORE_SHUFFLES)
    return Change(new.value - old.value, p)


def _sampled(entry: Entry, score: str) -> Sampled:
    parts, combine = entry.parts(score), of_sums(score)
    value = parts.mean(axis=0)[0] if combine is None else combine(parts.sum(axis=0))
    indices = tuple(range(len(parts)))
    return Sampled(indices, (parts,), combine, np.array([float(value)]), resampled(parts[None], combine), (), ())


@dataclass(frozen=True)
class Signs:
    """Of a score's changes over the runs; ties are left out."""

    worse: int
    moved: int
    p_worse: float
    """One-sided: how likely a fair coin gives as many worse."""
    p_better: float


def sign_test(worsenings: Sequence[float], scale: Sequence[float]) -> Signs:
    """Of how much worse each run got (negative: better), ties being what is small beside its `scale`."""
    pairs = zip(worsenings, scale, strict=True)
    moved = [each for each, size in pairs if abs(each) > TIE * abs(size)]
    worse = sum(each > 0 for each in moved)
    if not moved:
        return Signs(0, 0, 1.0, 1.0)
    more = binomtest(worse, len(moved), 0.5, alternative="greater").pvalue
    fewer = binomtest(worse, len(moved), 0.5, alternative="less").pvalue
    return Signs(worse, len(moved), float(more), float(fewer))
