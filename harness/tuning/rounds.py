"""The rounds of a row's tuning: from what its trials gave so far to the trials that are needed next.

A round is a list of candidates and the step to which each is to be trained. It depends on the trials' outcomes alone,
so that a sweep that was stopped anywhere goes on with the round that it was in.

Our own code, where Optuna has pruners: those decide inside the process of a trial, and a round here has to go through
any of Hydra's launchers, which know each other's trials by files alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.settings import Tune
from harness.tuning.tpe import next_candidates
from harness.tuning.trials import Candidate, Tried, base_places, clearly_worse, edges

Outcomes = Mapping[Candidate, Tried]

STRIDE = 2
"""Places between the first trials of a bracket: half a decade where a quarter is the grid's step."""


@dataclass(frozen=True)
class Chosen:
    """What tuning chose for a row."""

    candidate: Candidate | None
    """None where every trial failed."""
    loss: float
    """Its validation loss, or what else chose, as `Tried` has it."""
    edge: bool
    """The best lies at the edge of the grid, however far that was extended."""
    alike: bool = False
    """The validation examples tell no other value that was tried from it."""


def rungs(tune: Tune, steps: int) -> list[int]:
    """The steps at which trials are compared, ascending; the last is the training's end."""
    return sorted({max(1, round(share * steps)) for share in tune.looks} | {steps})


def ask(tune: Tune, steps: int, outcomes: Outcomes) -> list[tuple[Candidate, int]] | Chosen:
    """The next round of a row, or what was chosen."""
    if tune.sampler == "tpe":
        return [(each, steps) for each in next_candidates(tune, steps, outcomes)] or _best(tune, steps, outcomes)
    ends = rungs(tune, steps)
    asked: list[tuple[Candidate, int]] = []
    for others in _combinations(tune):
        own = {each: tried for each, tried in outcomes.items() if each.others == others}
        wanted = _start(tune, others)
        while not (left := _advance(tune, ends, wanted, own)):
            if not (more := _more(tune, wanted, own, steps)):
                break
            wanted += more
        asked += left
    return asked or _best(tune, steps, outcomes)


def _best(tune: Tune, steps: int, outcomes: Outcomes) -> Chosen:
    """The candidate of the lowest loss."""
    finished = _finished(outcomes, steps)
    if not finished:
        return Chosen(None, math.inf, edge=False)
    best = _lowest(finished)
    return Chosen(best, finished[best], best.place in edges(tune), _alike(best, steps, outcomes))


def _alike(best: Candidate, steps: int, outcomes: Outcomes) -> bool:
    """See `Chosen`; of several candidates with parts for each example. One that failed or stopped early is told."""
    others = [tried for each, tried in outcomes.items() if each != best]
    parts = outcomes[best].losses.get(steps)
    if not others or not parts:
        return False
    ends = [() if tried.failed else tried.losses.get(steps, ()) for tried in others]
    return all(end and not clearly_worse(end, parts) for end in ends)


def _finished(outcomes: Outcomes, steps: int) -> dict[Candidate, float]:
    """The losses at the end, as far as there are any."""
    return {each: tried.loss(steps) for each, tried in outcomes.items() if math.isfinite(tried.loss(steps))}


def _lowest(losses: Mapping[Candidate, float]) -> Candidate:
    """The candidate of the lowest loss; of equal ones, as shares of right answers often are, the nearest to the row's
    own value."""
    return min(losses, key=lambda each: (losses[each], abs(each.place), each))


def _combinations(tune: Tune) -> list[tuple[str, ...]]:
    """Of the values of the other settings that are tuned."""
    combinations: list[tuple[str, ...]] = [()]
    for name, values in tune.also.items():
        combinations = [(*each, f"{name}={value}") for each in combinations for value in values]
    return combinations


def _start(tune: Tune, others: tuple[str, ...]) -> list[Candidate]:
    """The candidates that are tried whatever the others give."""
    places: Iterable[int] = base_places(tune.points)
    if tune.sampler == "bracket":
        places = [place for place in (-STRIDE, 0, STRIDE) if place in places]
    return [Candidate(place, others) for place in places]


def _advance(
    tune: Tune, ends: Sequence[int], wanted: Sequence[Candidate], outcomes: Outcomes
) -> list[tuple[Candidate, int]]:
    """The candidates that have not come as far as they must, with the step to which they are to go; at one rung at a
    time, since who goes on is decided there."""
    going = list(wanted)
    beyond: list[Candidate] = []
    if tune.sampler == "halving":  # what extends the grid is there because the best was at its edge: it is not halved
        beyond = [each for each in wanted if each.place not in base_places(tune.points)]
        going = [each for each in wanted if each not in beyond]
    for end in ends[:-1] if tune.sampler != "grid" else []:
        if len(going) == 1:
            break
        known = {each: outcomes.get(each, Tried()) for each in going}
        if missing := [each for each, tried in known.items() if math.isnan(_at(tried, end, ends[-1]))]:
            return [(each, end) for each in missing]
        going = _survivors(tune, end, ends[-1], known)
    return [(each, ends[-1]) for each in [*going, *beyond] if math.isnan(outcomes.get(each, Tried()).loss(ends[-1]))]


def _at(tried: Tried, step: int, last: int) -> float:
    """The loss at a rung; of a trial that is over and was not looked at there, the one at its end, which is lower."""
    loss = tried.loss(step)
    return tried.loss(last) if math.isnan(loss) else loss


def _survivors(tune: Tune, end: int, last: int, known: Outcomes) -> list[Candidate]:
    """The candidates that go on behind a rung."""
    alive = {each: tried for each, tried in known.items() if not tried.failed}
    over = [each for each, tried in alive.items() if last in tried.means]
    if tune.sampler == "halving":
        ranked = sorted(alive, key=lambda each: (_at(alive[each], end, last), abs(each.place), each))
        return ranked[: max(1, math.ceil(len(known) / tune.factor))]
    here = {each: tried for each, tried in alive.items() if end in tried.losses}
    if not here:
        return over
    best = _lowest({each: tried.loss(end) for each, tried in here.items()})
    kept = [e for e, tried in here.items() if e is best or not clearly_worse(tried.losses[end], here[best].losses[end])]
    return list(dict.fromkeys([*kept, *over]))


def _more(tune: Tune, wanted: Sequence[Candidate], outcomes: Outcomes, steps: int) -> list[Candidate]:
    """The candidates beside the best that are to be tried too, now that all that were wanted are over."""
    ended = _finished({each: outcomes[each] for each in wanted}, steps)
    places = {each.place for each in wanted}
    stride = STRIDE if tune.sampler == "bracket" else 1
    if not ended:  # all failed, as rates do that are too high
        lower = max(min(places) - stride, edges(tune)[0])
        return [] if lower in places else [Candidate(lower, wanted[0].others)]
    best = _lowest(ended)
    new: list[int] = []
    lowest, highest = edges(tune)
    for side, limit in ((-1, lowest), (1, highest)):
        if best.place == side * max(side * place for place in places):  # nothing was tried beyond it
            new += [side * min(side * best.place + stride, side * limit)]
    if tune.sampler == "bracket" and set(new) <= places:
        new = [place for place in (best.place - 1, best.place + 1) if lowest <= place <= highest]
    return [Candidate(place, best.others) for place in new if place not in places]
