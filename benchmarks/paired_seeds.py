"""How often a 95% interval of the difference of two rows holds the true one, in simulations where that is known.

`python -m benchmarks.paired_seeds` draws scores of two rows from effects of seeds (which the rows share in part, as
rows of equal seeds see the same batches), of examples, and of each example under each seed; takes the interval that
tables give, and that which takes equal seeds as independent; and how often a comparison finds a difference that
another one called detectable. It writes docs/results/paired_seeds.md.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from harness.metrics.tools.bootstrap import resampled
from reports.statistics.intervals import Interval, percentile_interval
from reports.statistics.paired import Sampled, detectable_of, distance

PAGE = Path(__file__).parents[1] / "docs/results/paired_seeds.md"
EXAMPLES = 100
COUNTS, SHARED = (2, 3, 5, 10), (0.0, 0.5, 0.9)
"""Seeds of a row, and what share of the variance of a seed's effect is that of both rows."""


@dataclass(frozen=True)
class World:
    """Standard deviations of what a score is made of."""

    name: str
    seeds: float
    """Of a seed's effect on a row's score."""
    examples: float
    """Of an example's effect on the difference of the rows; its mean over the examples moves a score."""
    noise: float
    """Of each example under each seed."""


WORLDS = (
    World("seeds matter most", 1.0, 1.0, 1.0),
    World("seeds and examples", 0.3, 3.0, 1.0),
    World("seeds, examples and noise", 0.3, 1.0, 3.0),
    World("noise of each example", 0.1, 0.2, 3.0),
    World("seeds do nothing", 0.0, 1.0, 3.0),
)


def rows(world: World, n: int, shared: float, chance: np.random.Generator) -> tuple[Sampled, Sampled]:
    """Two rows of n seeds whose true difference is 0."""
    common, easy = chance.normal(size=(n, 1)), chance.normal(size=(1, EXAMPLES))
    drawn: list[Sampled] = []
    for name in "ab":
        seeds = world.seeds * (shared**0.5 * common + (1 - shared) ** 0.5 * chance.normal(size=(n, 1)))
        examples = world.examples * chance.normal(size=(1, EXAMPLES))
        scores = seeds + 5 * easy + examples + world.noise * chance.normal(size=(n, EXAMPLES))
        table = scores[:, :, None]
        drawn.append(
            Sampled(
                tuple(range(EXAMPLES)),
                tuple(table),
                None,
                scores.mean(axis=1),
                resampled(table, None),
                tuple(f"{name}{seed}" for seed in range(n)),
                tuple(range(n)),
            )
        )
    return drawn[0], drawn[1]


def independent(a: Sampled, b: Sampled, chance: np.random.Generator) -> Interval:
    """As before 0.4.0: equal seeds taken as independent, the spread of each resample over seeds as it is."""

    def drawn(row: Sampled) -> NDArray[np.float64]:
        n = len(row.values)
        error: NDArray[np.float64] = row.resampled.std(axis=0, ddof=1) / n**0.5
        return row.over_examples + error * chance.standard_t(n - 1, size=len(error))

    return percentile_interval(drawn(a) - drawn(b))


def cells(world: World, n: int, shared: float, trials: int) -> tuple[float, float, float, float, float]:
    """Share of intervals that hold 0, and mean width, of ours and of the independent ones; and the share that finds a
    true difference as large as another comparison called detectable, over all pairs of comparisons."""
    chance = np.random.default_rng([len(world.name), n, int(10 * shared)])
    hits, widths = np.zeros(2), np.zeros(2)
    lows, least = np.zeros(trials), np.zeros(trials)
    for trial in range(trials):
        a, b = rows(world, n, shared, chance)
        ours = distance(a, b)
        lows[trial], least[trial] = ours.low, detectable_of(a, b)
        for i, each in enumerate((ours, independent(a, b, chance))):
            hits[i] += each.contains_zero
            widths[i] += each.high - each.low
    # A true difference moves an interval by as much: it is found where that lies above 0.
    found = 1 - np.searchsorted(np.sort(least), -lows, side="right").mean() / trials
    return hits[0] / trials, hits[1] / trials, widths[0] / trials, widths[1] / trials, float(found)


def main() -> None:
    """Simulate, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="of each line (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=PAGE, metavar="FILE")
    options = parser.parse_args()
    half = binomtest(round(0.95 * options.trials), options.trials).proportion_ci()
    lines = [
        "# Seed by seed: how often intervals hold the truth",
        "",
        f"`python -m benchmarks.paired_seeds`: {options.trials:,} simulated pairs of rows a line, {EXAMPLES} test "
        "examples, true difference 0. Of 95% intervals: how many hold it, taken seed by seed as tables do, and with "
        "equal seeds taken as independent, as before; and the ratio of their mean widths. With so many trials a cover "
        f"of 95% shows as {100 * half.low:.1f} to {100 * half.high:.1f}. Standard deviations: of a seed's effect, of "
        "an example's on the difference, of each example under each seed. Shared: the part of a seed's variance that "
        "both rows have. Found: how many comparisons tell a true difference from 0 that is as large as another "
        "comparison of the same world called its minimum detectable one; 80% is what that promises.",
        "",
        "| world | deviations | seeds | shared | seed by seed [%] | independent [%] | width | found [%] |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for world, n, shared in product(WORLDS, COUNTS, SHARED):
        if world.seeds == 0 and shared:
            continue
        own, other, width, before, found = cells(world, n, shared, options.trials)
        deviations = f"{world.seeds:g}, {world.examples:g}, {world.noise:g}"
        cover = f"{100 * own:.1f} | {100 * other:.1f} | {width / before:.2f} | {100 * found:.0f}"
        line = f"| {world.name} | {deviations} | {n} | {shared:g} | {cover} |"
        print(line, file=sys.stderr)
        lines.append(line)
    options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
