"""How much a row's reported loss is flattered by the tuning of its rate, in simulations where its true loss is known.

`python -m benchmarks.tuning_flatters` draws validation losses of trials from a rate's true loss, the luck of a seed,
the hardness of an example, and the luck of an example at a rate; lets the harness's own samplers choose; compares what
is then reported with the true loss of the chosen rate; and writes docs/results/tuning_flatters.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.settings import Tune
from harness.tuning.rounds import Chosen, ask
from harness.tuning.trials import Candidate, Tried

PAGE = Path(__file__).parents[1] / "docs/results/tuning_flatters.md"
STEPS = 60
VALIDATION, TEST, SEEDS = 64, 100, 3
"""Examples of a trial's validation, of the test, and seeds that are reported."""
OF_SEED, OF_EXAMPLE, OF_BOTH = 0.01, 0.3, 0.1
"""Standard deviations of a seed's effect on a loss, of an example's, and of an example's at one rate under one seed."""
BOWLS: dict[str, Callable[[int], float]] = {
    "rates do nothing": lambda place: 0.0,
    "flat near the best": lambda place: 0.002 * (place - 1) ** 2,
    "steep": lambda place: 0.02 * (place - 1) ** 2,
}
"""By name: a rate's true loss by its place on the grid, above that of the best."""
WAYS = {
    "fresh seeds, test examples (as here)": "what tables of the harness print",
    "the trials' seed among them": "one of the three reported seeds chose the rate",
    "the winner's validation loss": "the number that chose is the number that is told",
    "chosen on the test examples": "the trial of the lowest test loss is the one that is told",
}


class Row:
    """One row of a table: how its trainings come out. Losses are above the best rate's, in nats a token."""

    def __init__(self, bowl: Callable[[int], float], chance: np.random.Generator) -> None:
        self.bowl, self.chance = bowl, chance
        self.hard = OF_EXAMPLE * chance.normal(size=VALIDATION + TEST)
        self.hard[:VALIDATION] -= self.hard[:VALIDATION].mean()  # the same for every rate, so that it chooses nothing
        self.hard[VALIDATION:] -= self.hard[VALIDATION:].mean()
        self.trained: dict[tuple[int, int], NDArray[np.float64]] = {}

    def losses(self, place: int, seed: int) -> NDArray[np.float64]:
        """Of each example, validation first, under a rate and a seed."""
        if (place, seed) not in self.trained:
            luck = OF_BOTH * self.chance.normal(size=VALIDATION + TEST)
            mean = self.bowl(place) + OF_SEED * self.chance.normal()
            self.trained[place, seed] = mean + self.hard + luck
        return self.trained[place, seed]

    def validation(self, place: int, seed: int) -> NDArray[np.float64]:
        """Losses of the validation examples."""
        return self.losses(place, seed)[:VALIDATION]

    def test(self, place: int, seed: int) -> float:
        """The mean loss over the test examples."""
        return float(self.losses(place, seed)[VALIDATION:].mean())

    def chosen(self, tune: Tune, of: slice) -> int:
        """The place that a sampler chooses by the losses of some examples."""
        tried: dict[Candidate, Tried] = {}
        while not isinstance(answer := ask(tune, STEPS, tried), Chosen):
            for candidate, step in answer:
                losses = [float(loss) for loss in self.losses(candidate.place, tune.seeds[0])[of]]
                tried[candidate] = Tried({step: losses}, {step: float(np.mean(losses))})
        assert answer.candidate is not None
        return answer.candidate.place


def flattered(bowl: Callable[[int], float], tune: Tune, chance: np.random.Generator) -> list[float]:
    """For each of `WAYS`: the reported loss minus the true loss of the rate that was chosen."""
    row, trial = Row(bowl, chance), tune.seeds[0]
    place = row.chosen(tune, slice(VALIDATION))
    by_test = row.chosen(tune, slice(VALIDATION, None))
    reported = [
        np.mean([row.test(place, seed) for seed in range(SEEDS)]),
        np.mean([row.test(place, seed) for seed in (trial, *range(SEEDS - 1))]),
        row.validation(place, trial).mean(),
        row.test(by_test, trial),
    ]
    true = [bowl(place), bowl(place), bowl(place), bowl(by_test)]
    return [float(told - truth) for told, truth in zip(reported, true, strict=True)]


def table(draws: int, seed: int = 0) -> list[tuple[str, str, str, float, float]]:
    """Bowl, sampler, way, mean difference in thousandths of a nat, and half the width of its 95% interval."""
    lines = []
    for (name, bowl), sampler in ((each, s) for each in BOWLS.items() for s in ("bracket", "grid")):
        tune = Tune.model_validate({"setting": "method.lr", "rungs": [], "sampler": sampler})
        chance = np.random.default_rng(seed)
        all_of = 1000 * np.array([flattered(bowl, tune, chance) for _ in range(draws)])
        half = 1.96 * all_of.std(axis=0, ddof=1) / draws**0.5
        lines += [(name, sampler, way, *pair) for way, *pair in zip(WAYS, all_of.mean(axis=0), half, strict=True)]
    return lines


def main(arguments: list[str]) -> None:
    """Print the page and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning_flatters", description=__doc__)
    parser.add_argument("--draws", type=int, default=4000, help="rows a line (default %(default)s)")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page (default %(default)s)")
    chosen = parser.parse_args(arguments)
    text = "\n".join([*_head(chosen.draws), *(_line(*each) for each in table(chosen.draws)), ""])
    print(text)
    chosen.output.write_text(text)


def _head(draws: int) -> list[str]:
    ways = "; ".join(f"*{way}*: {what}" for way, what in WAYS.items())
    return [
        "# Does tuning flatter a row?",
        "",
        f"`python -m benchmarks.tuning_flatters`: {draws:,} simulated rows a line. Twelve rates (more where the best "
        f"is at the edge) have a true loss each; a trial adds the luck of its seed (standard deviation {OF_SEED} nats) "
        f"and of its examples ({OF_BOTH} each; {VALIDATION} for validation, {TEST} for the test), and `tune.sampler` "
        "chooses. Reported loss minus true loss of the chosen rate, in thousandths of a nat a token, with the 95% "
        "interval of the mean; below 0 is flattery.",
        "",
        f"Ways of reporting. {ways}.",
        "",
        "| rates | sampler | way of reporting | reported minus true |",
        "|---|---|---|--:|",
    ]


def _line(bowl: str, sampler: str, way: str, mean: float, half: float) -> str:
    return f"| {bowl} | {sampler} | {way} | {mean:+.2f} ± {half:.2f} |".replace("-", "\N{MINUS SIGN}")


if __name__ == "__main__":
    main(sys.argv[1:])
