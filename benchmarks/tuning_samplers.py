"""What ways of tuning choose and cost, replayed on trials of whole grids that were trained.

`python -m benchmarks.tuning_samplers RESULTS SWEEP` reads a sweep that was tuned with `tune.sampler=grid`, whose trials
have been validated at every rung, and asks each sampler on them: a trial that a sampler would have stopped at a rung
costs the steps to there. Nothing is trained. It prints a Markdown table: share of rows whose best candidate was missed,
regret in validation loss, and cost beside the whole grid's.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from harness.results.record import Record
from harness.settings import Tune
from harness.tuning.rounds import Chosen, ask, rungs
from harness.tuning.trials import Candidate, Tried, value_at
from reports.read.run import Run
from reports.read.runs import load_sweep
from reports.read.trials import trials

WAYS: dict[str, dict[str, object]] = {
    "grid": {"sampler": "grid"},
    "halving": {"sampler": "halving", "rungs": [0.2, 0.5]},
    "bracket, all to the end": {"sampler": "bracket", "rungs": []},
    "bracket, a fifth and half": {"sampler": "bracket", "rungs": [0.2, 0.5]},
    "bracket, half": {"sampler": "bracket"},
}


@dataclass(frozen=True)
class Grid:
    """The trials of a row."""

    label: str
    steps: int
    tried: dict[Candidate, Tried]

    @property
    def best(self) -> Candidate:
        """The candidate of the lowest final loss."""
        return min(self.tried, key=lambda each: self.tried[each].loss(self.steps))


@dataclass(frozen=True)
class Replayed:
    """What a way of tuning makes of a row."""

    label: str
    missed: bool
    regret: float
    """Validation loss of what was chosen minus that of the grid's best, nats."""
    cost: float
    """Steps beside those of the whole grid."""


def grid_of(run: Run, records: Sequence[Record], tune: Tune) -> Grid:
    """A row's trials by place. Raises ValueError where they are none of this grid."""
    assert run.tuned is not None
    places = {value_at(place, run.tuned.own, tune.per_decade): place for place in range(-60, 61)}
    by_place: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        by_place[places[record.learning_rate or 0.0]].append(record)
    tried = {}
    for place, seeds in by_place.items():
        rungs_of = [{rung.step: rung for rung in record.trial.rungs} if record.trial else {} for record in seeds]
        shared = set.intersection(*map(set, rungs_of))
        tried[Candidate(place)] = Tried(
            {at: [loss for have in rungs_of for loss in have[at].losses] for at in shared},
            {at: fmean(have[at].val_loss for have in rungs_of) for at in shared},
            failed=any(record.status != "ok" for record in seeds),
        )
    steps = next(record.trial.steps for record in records if record.trial)
    return Grid(run.label, steps, tried)


def replay(tune: Tune, grid: Grid) -> Replayed:
    """Ask until something is chosen; what the grid does not have counts as failed, and costs nothing."""
    known: dict[Candidate, Tried] = {}
    reached: dict[Candidate, int] = {}
    while not isinstance(answer := ask(tune, grid.steps, known), Chosen):
        for candidate, step in answer:
            full = grid.tried.get(candidate, Tried(failed=True))
            shown = [at for at in full.means if at <= step]
            losses, means = ({at: part[at] for at in shown} for part in (full.losses, full.means))
            known[candidate] = Tried(losses, means, full.failed)
            reached[candidate] = step if candidate in grid.tried else 0
    best = grid.tried[grid.best].loss(grid.steps)
    whole = grid.steps * len(grid.tried)
    missed = answer.candidate != grid.best
    return Replayed(grid.label, missed, answer.loss - best, sum(reached.values()) / whole)


def interval(values: Sequence[float]) -> str:
    """The mean with its 95% bootstrap interval over rows."""
    chance = np.random.default_rng(0)
    means = chance.choice(np.array(values), (10_000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{fmean(values):.4f} ({low:.4f} to {high:.4f})"


def render(grids: Sequence[Grid], shares: Sequence[float], points: int) -> str:
    """The tables."""
    lines = [
        f"{len(grids)} rows, {points} candidates each, rungs at {', '.join(f'{share:g}' for share in shares)} of "
        f"{grids[0].steps} steps.",
        "",
        "| way | best missed in | regret, nats (95% over rows) | largest regret | steps beside the grid's |",
        "|---|--:|--:|--:|--:|",
    ]
    details: Mapping[str, list[Replayed]] = {
        name: [replay(tune_of(changes, points), grid) for grid in grids] for name, changes in WAYS.items()
    }
    for name, each in details.items():
        cost = fmean(one.cost for one in each)
        worst = max(each, key=lambda one: one.regret)
        regret = interval([one.regret for one in each])
        missed = f"{sum(one.missed for one in each)} of {len(each)}"
        lines.append(f"| {name} | {missed} | {regret} | {worst.regret:.4f} ({worst.label}) | {cost:.2f} |")
    lines += ["", f"| row | best place | {' | '.join(f'{name}: regret, cost' for name in WAYS)} |", "|---|--:|"]
    lines[-1] += "--:|" * len(WAYS)
    for number, grid in enumerate(grids):
        cells = [f"{each[number].regret:.4f}, {each[number].cost:.2f}" for each in details.values()]
        lines.append(f"| {grid.label} | {grid.best.place} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tune_of(changes: Mapping[str, object], points: int) -> Tune:
    """The settings of a way of tuning; the grid is not extended, since nothing beyond it was trained."""
    return Tune.model_validate({"setting": "method.lr", "points": points, "extend": 0} | changes)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("sweep")
    parser.add_argument("--points", type=int, default=12)
    parser.add_argument("--rungs", type=float, nargs="+", default=[0.2, 0.5])
    args = parser.parse_args()
    tune = tune_of({"rungs": list(args.rungs)}, args.points)
    seen: dict[str, Run] = {}
    for run in load_sweep(args.results, args.sweep).runs:
        if run.tuned:
            seen.setdefault(run.tuned.row, run)
    grids = [grid_of(run, trials(run), tune) for run in seen.values()]
    ends = {grid.label: set(rungs(tune, grid.steps)) - set(grid.tried[grid.best].means) for grid in grids}
    if short := [label for label, missing in ends.items() if missing]:
        sys.exit(f"error: {', '.join(short)}: were not validated at every rung; run with tune.rungs={args.rungs}")
    print(render(grids, args.rungs, args.points))


if __name__ == "__main__":
    main()
