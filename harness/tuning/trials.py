"""Candidates of a row, what their trials gave, and whether two of them can be told apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from harness.settings import Tune

ALPHA = 0.05
"""A candidate stops early where a paired, one-sided test over validation examples tells it from the best at this
level."""


@dataclass(frozen=True, order=True)
class Candidate:
    """A place on the grid of the tuned setting, and values of other settings that are tuned with it."""

    place: int
    """Steps of the grid from the method's own value, 0."""
    others: tuple[str, ...] = ()
    """As overrides, such as `method.alpha=16`."""


def value_at(place: int, center: float, per_decade: int) -> float:
    """The tuned setting at a place of its grid, to three digits; at 0 the method's own value as it stands."""
    return center if place == 0 else float(f"{center * 10 ** (place / per_decade):.3g}")


def base_places(points: int) -> range:
    """Places of a grid of this many points around the method's own value, one more above than below where uneven."""
    return range(-((points - 1) // 2), points // 2 + 1)


def edges(tune: Tune) -> tuple[int, int]:
    """The lowest and the highest place to which the grid can be extended."""
    places = base_places(tune.points)
    return places[0] - tune.extend, places[-1] + tune.extend


@dataclass(frozen=True)
class Tried:
    """What the trials of a candidate gave, one trial a tuning seed. A score of which more is better stands here as its
    negative, so that all is to be made small."""

    losses: Mapping[int, Sequence[float]] = field(default_factory=dict)
    """By step: the summed nats of each validation example, or its part of another score, the mean over seeds, in the
    same order for all. Empty of a score that has no parts."""
    means: Mapping[int, float] = field(default_factory=dict)
    """By step: the validation loss, or another score, the mean over seeds; infinite where that is not defined."""
    failed: bool = False
    """One of them diverged or failed otherwise."""

    def loss(self, step: int) -> float:
        """What chooses, at a step; infinite where a trial failed, NaN where it is not known."""
        return math.inf if self.failed else self.means.get(step, math.nan)


def clearly_worse(one: Sequence[float], best: Sequence[float]) -> bool:
    """Whether `one` is worse than `best` by a paired t-test over validation examples. Both are losses of the same
    examples, two or more, in the same order; nothing can be told of those without."""
    from scipy.stats import t

    if not one or not best:
        return False
    differences = [a - b for a, b in zip(one, best, strict=True)]
    unequal = sum(difference != 0 for difference in differences)
    if unequal < len(differences) and 0.5**unequal > ALPHA:  # right or wrong in so few that no test of signs would tell
        return False
    mean, error = fmean(differences), stdev(differences) / math.sqrt(len(differences))
    return mean > float(t.ppf(1 - ALPHA, len(differences) - 1)) * error
