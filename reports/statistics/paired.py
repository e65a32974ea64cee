"""What test examples say of a score and of a difference of scores: paired bootstrap, approximate randomization.

A row is one run, or several that differ only in the seed; its score is the mean of theirs. Rows of equal seeds saw the
same batches, so their difference is taken seed by seed, over the seeds that both have.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from harness.metrics import OfSums, of_sums
from harness.metrics.tools.bootstrap import RESAMPLES, SEED, resampled
from reports.read.run import Run
from reports.read.runs import UnusablePredictions, example_parts, finite
from reports.statistics.intervals import ALPHA, Interval, detectable, percentile_interval

SHUFFLES = 10_000
"""Of approximate randomization: the smallest p-value is 1 / 10,001."""
FAMILY = int(ALPHA * (SHUFFLES + 1))
"""Rows of a family of tests; of more, Holm's correction leaves no p-value below ALPHA."""
BLOCK = 4_000_000
"""Random bits held in memory at a time."""
ROUNDING = 1e-4
"""Difference of a record from its own predictions, relative to it where it is above 1, at which they are another's."""


@dataclass(frozen=True)
class Difference:
    """Of two rows' scores."""

    value: float
    """Mean over the seeds of the first row minus that of the second; where they share two or more, over those."""
    interval: Interval
    """95%, by a paired bootstrap; covers the choice of test examples and, where a row has several, of seeds."""
    p: float
    """Two-sided, by approximate randomization over test examples: of these trained models, whatever their seeds."""
    detectable: float
    """The true difference that such a comparison would find in 80% of cases: see `intervals.detectable`."""


@dataclass(frozen=True, eq=False)
class Sampled:
    """One score of a row and how it moves under resampling."""

    indices: tuple[int, ...]
    """Of the test examples, ascending."""
    parts: tuple[NDArray[np.float64], ...]
    """For each run [examples, statistics]; see `of_sums`."""
    of_sums: OfSums | None
    """None: the score is the mean of the examples' own."""
    values: NDArray[np.float64]
    """The score of each run."""
    resampled: NDArray[np.float64]
    """The same in each resample of the examples, [runs, resamples]."""
    names: tuple[str, ...]
    """The runs' ids, which decide how Student's t is drawn, in whatever order they are."""
    seeds: tuple[object, ...]
    """Of the runs, each once; a row of repeats, whose seeds are alike, has none."""

    @property
    def value(self) -> float:
        """Mean over the runs."""
        return float(self.values.mean())

    @property
    def over_examples(self) -> NDArray[np.float64]:
        """Mean over the runs in each resample."""
        means: NDArray[np.float64] = self.resampled.mean(axis=0)
        return means

    @cached_property
    def drawn(self) -> NDArray[np.float64]:
        """The score in each resample, with what the choice of seeds adds."""
        error = seed_variance(self.values, self.resampled) ** 0.5
        added: NDArray[np.float64] = error * student(len(self.values), tuple(sorted(self.names)))
        return self.over_examples + added

    def of(self, seeds: Sequence[object]) -> Sampled:
        """The runs of these seeds alone, in their order."""
        chosen = [self.seeds.index(seed) for seed in seeds]
        return replace(
            self,
            parts=tuple(self.parts[i] for i in chosen),
            values=self.values[chosen],
            resampled=self.resampled[chosen],
            names=tuple(self.names[i] for i in chosen),
            seeds=tuple(seeds),
        )


def seed_variance(values: NDArray[np.float64], resampled: NDArray[np.float64]) -> float:
    """Squared standard error over seeds of the mean of `values` [seeds], beyond what resampled examples
    [seeds, resamples] show; 0 for one seed, of which nothing is known.

    The seeds' values also differ by the noise of each example under each seed, which the resamples hold already. With S
    the variance of the values and W that of this noise, S counts it twice (99% of 95% intervals cover where seeds
    matter little), and S - W is at times far too small (89% at two seeds); S * S / (S + W) lies between
    (docs/results/paired_seeds.md).
    """
    n = len(values)
    spread = float(values.var(ddof=1)) if n > 1 else 0.0
    if spread == 0:
        return 0.0
    noise = n / (n - 1) * float((resampled - resampled.mean(axis=0)).var(axis=1, ddof=1).mean())
    return spread * spread / (spread + noise) / n


@lru_cache(maxsize=4096)
def student(n: int, names: tuple[str, ...] = ()) -> NDArray[np.float64]:
    """Student's t with n - 1 degrees of freedom for each resample: its quantiles in a random order, since so few draws
    of heavy tails would miss them. 0 for one seed."""
    if n < 2:
        return np.zeros(RESAMPLES)
    quantiles = t.ppf((np.arange(RESAMPLES) + 0.5) / RESAMPLES, n - 1)
    generator = np.random.default_rng([SEED, n, *(zlib.crc32(name.encode()) for name in names)])
    return generator.permutation(quantiles)


def scores_with_examples(run: Run) -> list[str]:
    """The scores of a run whose examples' parts are stored and give the recorded value. Raises UnusablePredictions."""
    record = run.done
    names = [name for name in (record.quality if record else {}) if name in example_parts(run)[1]]
    usable = []
    for name in names:
        try:
            _examples(run, name)
        except UnusablePredictions:
            continue
        usable.append(name)
    return usable


def interval(runs: Sequence[Run], score: str) -> Interval:
    """The 95% interval of a row's score: test examples, and seeds where there are several. Raises
    UnusablePredictions."""
    return percentile_interval(sample(runs, score).drawn)


def difference(a: Sequence[Run], b: Sequence[Run], score: str) -> Difference:
    """The score of row `a` minus that of row `b`. Raises UnusablePredictions."""
    return compared(sample(a, score), sample(b, score))


def sample(runs: Sequence[Run], score: str) -> Sampled:
    """One score of a row under resampling. Raises UnusablePredictions where its runs do not share test examples, or a
    run has none that give its recorded score."""
    return _sample(tuple(runs), score)


@lru_cache(maxsize=4096)
def _sample(runs: tuple[Run, ...], score: str) -> Sampled:
    read = [_examples(run, score) for run in runs]
    indices, parts = read[0][0], tuple(part for _, part in read)
    if any(other != indices for other, _ in read):
        raise UnusablePredictions("its seeds were scored on different test examples")
    combine = _sums(score)
    together = np.stack(parts)
    values = np.asarray(_score(together, combine))
    seeds = tuple(run.done.flat_key.get("settings.seed") if run.done else None for run in runs)
    names = tuple(run.id for run in runs)
    once = seeds if len(set(seeds)) == len(seeds) else ()
    return Sampled(indices, parts, combine, values, resampled(together, combine), names, once)


def shared_seeds(a: Sampled, b: Sampled) -> tuple[object, ...]:
    """The seeds that both rows have, where there are two or more: a difference is then taken seed by seed over them.
    Nothing where there are fewer: the rows' seeds are then taken as independent."""
    shared = tuple(seed for seed in a.seeds if seed in b.seeds)
    return shared if len(shared) > 1 else ()


def compared(a: Sampled, b: Sampled) -> Difference:
    """The difference of two rows' scores. Raises UnusablePredictions where they do not share test examples."""
    if seeds := shared_seeds(a, b):
        a, b = a.of(seeds), b.of(seeds)
    return Difference(a.value - b.value, distance(a, b), randomized(a, b), detectable_of(a, b))


def distance(a: Sampled, b: Sampled) -> Interval:
    """The interval of the difference alone. Raises UnusablePredictions as `compared`."""
    if a.indices != b.indices:
        raise UnusablePredictions("the rows were scored on different test examples")
    if seeds := shared_seeds(a, b):
        a, b = a.of(seeds), b.of(seeds)
        gaps = a.resampled - b.resampled
        error = seed_variance(a.values - b.values, gaps) ** 0.5
        return percentile_interval(gaps.mean(axis=0) + error * student(len(seeds)))
    return percentile_interval(a.drawn - b.drawn)


def detectable_of(a: Sampled, b: Sampled) -> float:
    """See `Difference.detectable`; of rows that share all their seeds, or are independent."""
    examples = float((a.over_examples - b.over_examples).std(ddof=1))
    sides = [(row.values, row.resampled) for row in (a, b)]
    if shared_seeds(a, b):
        sides = [(a.values - b.values, a.resampled - b.resampled)]
    return detectable(examples, [(seed_variance(*side) ** 0.5, len(side[0])) for side in sides])


def randomized(a: Sampled, b: Sampled, shuffles: int = SHUFFLES) -> float:
    """The p-value of approximate randomization (Noreen 1989; Riezler and Maxwell 2005,
    https://aclanthology.org/W05-0908): how often the absolute difference is as large as it is where the two rows'
    outputs of each example are swapped by a coin. With several seeds the runs of the rows swap one with one in their
    order (of shared seeds, seed by seed), or, where the rows have not as many, each with each; by the same coins.
    Raises UnusablePredictions where the rows do not share test examples."""
    if a.indices != b.indices or a.parts[0].shape != b.parts[0].shape:
        raise UnusablePredictions("the rows were scored on different test examples")
    observed, items = abs(a.value - b.value), len(a.indices)
    extreme, step = 0, max(1, BLOCK // items)
    for start in range(0, shuffles, step):
        apart = np.abs(_swapped(a, b, _coins(start, min(step, shuffles - start), items)))
        extreme += int((apart >= observed - 1e-9 * max(1.0, observed)).sum())
    return (1 + extreme) / (1 + shuffles)


@lru_cache(maxsize=2)
def _coins(start: int, shuffles: int, items: int) -> NDArray[np.float64]:
    """0 or 1, [shuffles, items]: the block of shuffles that begins at `start`."""
    generator = np.random.default_rng([SEED, start])
    return generator.integers(0, 2, size=(shuffles, items), dtype=np.int8).astype(np.float64)


def _swapped(a: Sampled, b: Sampled, coins: NDArray[np.float64]) -> NDArray[np.float64]:
    """The difference under each row of coins, [shuffles, examples] of 0 and 1: the mean over pairs of runs."""
    # Of sums, a swap takes one run's swapped examples away and adds the other's.
    ours, theirs = ([(part.sum(axis=0), coins @ part) for part in row.parts] for row in (a, b))
    pairs = list(zip(ours, theirs, strict=True) if len(ours) == len(theirs) else product(ours, theirs))
    total = np.zeros(len(coins))
    for (own, moved), (other, arrived) in pairs:
        first, second = own - moved + arrived, other - arrived + moved
        if a.of_sums is None:
            total += (first - second)[:, 0] / coins.shape[1]
        else:
            total += a.of_sums(first) - a.of_sums(second)
    return total / len(pairs)


@cache
def _sums(score: str) -> OfSums | None:
    return of_sums(score)


def _score(parts: NDArray[np.float64], combine: OfSums | None) -> NDArray[np.float64]:
    """Scores, [...], of parts [..., examples, statistics]."""
    return parts.mean(axis=-2)[..., 0] if combine is None else combine(parts.sum(axis=-2))


def _examples(run: Run, score: str) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Indices of a run's test examples, and what each has of the score. Raises UnusablePredictions."""
    recorded = finite(run.done.quality.get(score)) if run.done else None
    if recorded is None:
        raise UnusablePredictions(f"the record has no {score}")
    indices, parts = example_parts(run)
    if score not in parts:
        raise UnusablePredictions(f"predictions.jsonl has no {score} of each example")
    combine, part = _sums(score), parts[score]
    if combine is None and part.shape[1] != 1:
        raise UnusablePredictions(f"predictions.jsonl has statistics of {score}, which is not made of sums")
    try:
        value = float(_score(part, combine))
    except (ValueError, IndexError):
        raise UnusablePredictions(f"predictions.jsonl does not hold the statistics of {score}") from None
    if not abs(recorded - value) <= ROUNDING * max(1.0, abs(recorded)):
        raise UnusablePredictions(f"predictions.jsonl gives {score} {value:.2f}, the record says {recorded:.2f}")
    return indices, part
