"""The gate's tests of measures: closed forms, and how often they err where nothing changed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, t

from reports.gate.moves import Shift, shifts, sign_test, spread


def test_spread_is_the_standard_deviation_of_normal_noise() -> None:
    noise = np.random.default_rng(1).normal(0, 0.07, size=(4000, 3))
    assert spread(noise.tolist()) == pytest.approx(0.07, rel=0.03)


def test_spread_does_not_follow_an_outlier() -> None:
    values = np.random.default_rng(2).normal(0, 0.01, size=(40, 5))
    values[:4, 0] += 1
    assert spread(values.tolist()) < 0.015


def test_a_shift_is_the_ratio_of_medians_and_its_p_value_that_of_students_t() -> None:
    (found,) = shifts([[100.0, 90.0, 110.0]], [[50.0, 80.0, 80.0]]).runs
    assert found.ratio == pytest.approx(-0.2)
    assert found.degrees == 4
    assert found.p(-1) == pytest.approx(t.sf(-math.log(0.8) / found.error, 4))
    assert found.p(1) == pytest.approx(1 - found.p(-1))


def test_what_never_varied_and_moved_is_certain() -> None:
    (same, more) = shifts([[7.0] * 3, [7.0] * 3], [[7.0] * 3, [8.0] * 3]).runs
    assert (same.p(1), more.p(1), more.p(-1)) == (1.0, 0.0, 1.0)


def test_the_smallest_visible_change_has_just_that_p_value() -> None:
    shift = Shift(0.0, 0.02, 8)
    assert Shift(shift.visible(0.001), 0.02, 8).p(1) == pytest.approx(0.001)


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("common", [0.0, 2.0])
@pytest.mark.parametrize("repeats", [3, 5])
def test_noise_alone_is_a_regression_less_often_than_stated(repeats: int, common: float, heavy: bool) -> None:
    """A family of twelve runs at a level of 5%, under normal noise and under noise with heavy tails; of each run's own,
    and of rounds in which the machine is slower for every run."""
    generator, families, level = np.random.default_rng(3), 300, 0.05

    def draw(*size: int) -> NDArray[np.float64]:
        return generator.standard_t(3, size) if heavy else generator.normal(size=size)

    alarms = 0
    for _ in range(families):
        noise = draw(2, 12, repeats) + common * draw(2, 1, repeats)
        before, after = (np.exp(0.02 * side).tolist() for side in noise)
        found = shifts(before, after)
        assert found.suite is not None
        smallest = min(2 * found.suite.p(-1), 2 * 12 * min(shift.p(-1) for shift in found.runs))  # as Holm adjusts it
        alarms += smallest < level
    # Were the rate 5%, more than this would be seen once in a thousand times.
    assert alarms <= binom.isf(0.001, families, level)


def test_one_run_slower_is_not_all_and_all_slower_is_not_one() -> None:
    noise = np.random.default_rng(5).normal(0, 0.01, size=(2, 12, 3))
    before, after = np.exp(noise[0]), np.exp(noise[1])
    one = after.copy()
    one[4] *= 0.8
    found = shifts(before.tolist(), one.tolist())
    assert found.suite is not None
    assert found.suite.p(-1) > 0.01
    assert [shift.p(-1) < 0.001 for shift in found.runs] == [i == 4 for i in range(12)]
    found = shifts(before.tolist(), (0.8 * after).tolist())
    assert found.suite is not None
    assert found.suite.p(-1) < 0.001
    assert found.suite.ratio == pytest.approx(-0.2, abs=0.01)
    assert min(shift.p(-1) for shift in found.runs) > 0.001


def test_a_small_drop_in_36_of_38_runs() -> None:
    signs = sign_test([0.1] * 36 + [-0.1] * 2, [20.0] * 38)
    closed = sum(math.comb(38, k) for k in (36, 37, 38)) / 2**38
    assert (signs.worse, signs.moved) == (36, 38)
    assert signs.p_worse == pytest.approx(closed)
    assert signs.p_better == pytest.approx(1.0)


def test_ties_say_nothing() -> None:
    assert sign_test([0.0, 0.019, 0.021], [20.0] * 3).moved == 1
    assert sign_test([], []).p_worse == 1.0
