"""The rounds of tuning, on losses whose best rate is known: what is chosen, and at which cost."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from scipy.stats import binomtest, ttest_rel

from harness.settings import Tune
from harness.tuning.rounds import Chosen, ask, rungs
from harness.tuning.trials import Candidate, Tried, base_places, clearly_worse, value_at

STEPS = 60
EXAMPLES = 64


@dataclass
class Tuned:
    chosen: Chosen
    cost: float
    """In whole trainings."""
    rounds: list[list[tuple[Candidate, int]]]
    tried: dict[Candidate, Tried]


def bowl(best: float, wall: float = 3) -> Callable[[int], float]:
    """Loss at the end by place: smooth in the log rate, with a wall above the best, as NOTES of real curves have it."""
    return lambda place: 1.4 + 0.01 * (place - best) ** 2 + (0.3 * (place - best - wall) if place > best + wall else 0)


def tune(setting: str = "method.lr", **changes: object) -> Tune:
    return Tune.model_validate({"setting": setting, "rungs": [0.2, 0.5]} | changes)


def tuned(
    how: Tune,
    end: Callable[[int], float],
    seed: int = 0,
    diverges: Callable[[int], bool] = lambda place: False,
    noise: float = 0.05,
) -> Tuned:
    """Ask until something is chosen; a rate above the best looks worse in the middle of training than at its end."""
    chance = random.Random(seed)
    hard = [chance.gauss(0, 0.3) for _ in range(EXAMPLES)]
    tried: dict[Candidate, Tried] = {}
    cost, rounds = 0, []
    while True:
        answer = ask(how, STEPS, tried)
        if isinstance(answer, Chosen):
            return Tuned(answer, cost / STEPS, rounds, tried)
        assert answer
        rounds.append(answer)
        for candidate, step in answer:
            before = tried.get(candidate, Tried())
            reached = max(before.means, default=0)
            assert step > reached
            assert not before.failed
            cost += step - reached
            if diverges(candidate.place):
                tried[candidate] = Tried(failed=True)
                continue
            drawn = random.Random(f"{seed} {candidate} {step}")
            left = 1 - step / STEPS
            mean = end(candidate.place) + 0.9 * left**1.5 + 0.02 * max(0, candidate.place) * left
            losses = [mean + each + drawn.gauss(0, noise) for each in hard]
            means = {**before.means, step: statistics.fmean(losses)}
            tried[candidate] = Tried({**before.losses, step: losses}, means)


@pytest.mark.parametrize("sampler", ["grid", "halving", "bracket"])
@pytest.mark.parametrize("best", [-7.2, -4.0, -1.5, 0.3, 1.0, 2.6, 5.0, 8.4])
def test_what_is_chosen_is_the_best_or_costs_little(sampler: str, best: float) -> None:
    found = tuned(tune(sampler=sampler), bowl(best))
    assert found.chosen.candidate is not None
    nearest = min(range(-20, 20), key=bowl(best))
    assert bowl(best)(found.chosen.candidate.place) - bowl(best)(nearest) < 0.02
    assert not found.chosen.edge


def test_a_bracket_costs_a_third_of_the_grid_at_most_where_the_best_is_near() -> None:
    grid = [tuned(tune(sampler="grid"), bowl(best)).cost for best in (-3, -1, 0, 1, 2, 3)]
    bracket = [tuned(tune(), bowl(best)).cost for best in (-3, -1, 0, 1, 2, 3)]
    assert grid == [12] * 6
    assert max(bracket) <= 4


def test_an_edge_extends_the_grid_up_to_the_limit_and_is_flagged_there() -> None:
    for sampler in ("grid", "halving", "bracket"):
        within, beyond = (tuned(tune(sampler=sampler, extend=3), bowl(best)) for best in (7.4, 14))
        assert within.chosen.candidate in (Candidate(7), Candidate(8))
        assert not within.chosen.edge
        assert beyond.chosen.candidate == Candidate(9), "6 and 3 beyond it"
        assert beyond.chosen.edge
        none = tuned(tune(sampler=sampler, extend=0), bowl(14))
        assert (none.chosen.candidate, none.chosen.edge) == (Candidate(6), True)


def test_a_choice_among_values_that_the_examples_do_not_tell_apart_says_so() -> None:
    for sampler in ("grid", "bracket"):
        assert not tuned(tune(sampler=sampler), bowl(0)).chosen.alike
        assert not tuned(tune(sampler=sampler), lambda place: 1.4, diverges=lambda place: place > 0).chosen.alike
    few = Tried({STEPS: [1.0, 2.0]}, {STEPS: 1.5}), Tried({STEPS: [1.1, 2.5]}, {STEPS: 1.8})
    two = tune(sampler="grid", points=2, extend=0, rungs=[])
    chosen = ask(two, STEPS, dict(zip((Candidate(0), Candidate(1)), few, strict=True)))
    assert chosen == Chosen(Candidate(0), 1.5, edge=True, alike=True), "two examples tell nothing"


def test_rates_that_diverge_are_passed_by_and_a_row_of_which_all_do_has_none() -> None:
    for sampler in ("grid", "halving", "bracket"):
        found = tuned(tune(sampler=sampler), bowl(4), diverges=lambda place: place > 1)
        assert found.chosen.candidate == Candidate(1)
        none = tuned(tune(sampler=sampler), bowl(4), diverges=lambda place: True)
        assert none.chosen == Chosen(None, math.inf, False)


def test_where_all_that_is_tried_diverges_lower_rates_are_tried() -> None:
    for sampler in ("grid", "halving", "bracket"):
        found = tuned(tune(sampler=sampler), bowl(-8), diverges=lambda place: place > -6)
        assert found.chosen.candidate is not None
        assert found.chosen.candidate.place in (-7, -8, -9)


def test_without_rungs_every_trial_goes_to_the_end() -> None:
    for sampler in ("grid", "halving", "bracket"):
        found = tuned(tune(sampler=sampler, rungs=[]), bowl(1))
        assert {step for each in found.rounds for _, step in each} == {STEPS}


def test_halving_keeps_half_at_each_rung() -> None:
    found = tuned(tune(sampler="halving"), bowl(0))
    assert [(len(each), each[0][1]) for each in found.rounds] == [(12, 12), (6, 30), (3, 60)]


def test_other_settings_have_a_bracket_each_and_one_winner() -> None:
    how = tune(also={"method.alpha": [8, 16], "method.dropout": [0.0, 0.1]})
    found = tuned(how, bowl(0))
    others = {candidate.others for candidate in found.tried}
    assert others == {(f"method.alpha={a}", f"method.dropout={d}") for a in (8, 16) for d in (0.0, 0.1)}
    least = min(tried.means[STEPS] for tried in found.tried.values() if STEPS in tried.means)
    assert found.chosen.loss == least


def test_a_round_hangs_on_the_outcomes_alone() -> None:
    """Whatever was lost of a round, what is asked next is what was missing of it."""
    found = tuned(tune(sampler="halving"), bowl(2))
    first = found.rounds[0]
    half = {candidate: Tried({12: found.tried[candidate].losses[12]}, {12: found.tried[candidate].means[12]})
            for candidate, _ in first[:5]}  # fmt: skip
    assert ask(tune(sampler="halving"), STEPS, half) == first[5:]


def test_a_bracket_takes_what_a_grid_has_run_before() -> None:
    """Trials of a whole grid without rungs are over: they are taken as they are, and none is asked again."""
    grid = tuned(tune(sampler="grid", rungs=[]), bowl(1))
    ended: Mapping[Candidate, Tried] = grid.tried
    assert ask(tune(), STEPS, ended) == ask(tune(sampler="grid"), STEPS, ended)


def test_the_test_of_examples_is_the_paired_t_test() -> None:
    chance = random.Random(0)
    for _ in range(200):
        best = [chance.gauss(1, 0.3) for _ in range(20)]
        one = [each + chance.gauss(0.02, 0.06) for each in best]
        assert clearly_worse(one, best) == (ttest_rel(one, best, alternative="greater").pvalue < 0.05)
    assert not clearly_worse([1.0, 2.0], [1.0, 2.0])


def test_few_examples_that_are_right_or_wrong_tell_nothing_and_none_without_parts() -> None:
    """Of answers that are right or wrong a test of signs is the witness: four that differ, one way, are 1 in 16."""
    for wrong in range(33):
        one, best = [0.0] * wrong + [-1.0] * (32 - wrong), [-1.0] * 32
        assert clearly_worse(one, best) == (wrong > 0 and binomtest(wrong, wrong, alternative="greater").pvalue < 0.05)
    assert not clearly_worse([], [])
    assert not clearly_worse([1.0, 2.0], [])


def test_equal_scores_are_no_edge_and_keep_the_rows_own_value() -> None:
    """As shares of right answers are where nothing is learned."""
    for sampler in ("bracket", "halving", "grid"):
        found = tuned(tune(sampler=sampler), lambda place: 0.0, noise=0.0)
        assert (found.chosen.candidate, found.chosen.edge) == (Candidate(0), False)
        assert min(candidate.place for candidate in found.tried) >= -5, "the grid is not extended"


def test_a_score_that_is_not_defined_is_never_the_best() -> None:
    ended = {Candidate(place): Tried({STEPS: []}, {STEPS: math.inf if place else -0.5}) for place in range(-9, 11)}
    chosen = ask(tune(sampler="grid"), STEPS, ended)
    assert chosen == Chosen(Candidate(0), -0.5, False)
    none = {candidate: Tried({STEPS: []}, {STEPS: math.inf}) for candidate in ended}
    assert ask(tune(sampler="grid"), STEPS, none) == Chosen(None, math.inf, False)


def test_places_and_values() -> None:
    assert list(base_places(12)) == list(range(-5, 7))
    assert list(base_places(2)) == [0, 1]
    assert value_at(0, 2.5e-3, 4) == 2.5e-3
    assert [value_at(place, 1e-3, 4) for place in (-4, 2, 4)] == [1e-4, 3.16e-3, 1e-2]
    assert rungs(tune(rungs=[0.5, 0.01]), 10) == [1, 5, 10]


def test_optuna_asks_for_the_same_trials_again_and_finds_the_best_of_two_settings() -> None:
    pytest.importorskip("optuna")
    how = tune(sampler="tpe", trials=24, also={"method.alpha": [8, 16]})
    first, again = tuned(how, bowl(3)), tuned(how, bowl(3))
    assert first.rounds == again.rounds
    assert first.rounds[0][0][0].place == 0, "the row's own value is tried first"
    assert sum(len(each) for each in first.rounds) <= 24
    assert first.chosen.candidate is not None
    assert abs(first.chosen.candidate.place - 3) <= 2
