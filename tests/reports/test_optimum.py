"""The fitted optimum of a rate, on curves whose lowest point is known."""

from __future__ import annotations

import math
import random

import pytest

from reports.statistics.optimum import optimum, vertex

RATES = [1e-4 * 10 ** (place / 4) for place in range(10)]


def parabola(best: float, rate: float) -> float:
    return 1.4 + 0.2 * math.log10(rate / best) ** 2


@pytest.mark.parametrize("best", [3e-4, 1.2e-3, 5e-3])
def test_the_lowest_point_of_a_parabola_is_found_between_the_rates(best: float) -> None:
    assert vertex({rate: parabola(best, rate) for rate in RATES}) == pytest.approx(best, rel=1e-6)


def test_a_wall_far_from_the_best_and_rates_that_diverged_change_nothing() -> None:
    curve = {rate: parabola(1e-3, rate) for rate in RATES} | {0.03: 9.0, 0.1: math.inf}
    assert vertex(curve) == pytest.approx(1e-3, rel=1e-6)


def test_no_optimum_where_none_is_bracketed() -> None:
    assert vertex({1e-3: 1.0, 2e-3: 0.9}) is None
    assert vertex({rate: parabola(1e-5, rate) for rate in RATES}) is None, "the best is the lowest rate"
    assert vertex({rate: 1.0 - 0.1 * abs(math.log10(rate / 1e-3)) for rate in RATES[2:7]}) is None, "it bends down"
    assert optimum({}) is None


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_its_interval_covers_the_truth_in_95_of_100(seeds: int) -> None:
    """1,500 pairs of rows whose seeds' optima spread by a tenth of a decade and whose losses are noisy."""
    chance, inside, worlds = random.Random(seeds), 0, 1500
    for _ in range(worlds):
        own = [10 ** (-3 + chance.gauss(0, 0.1)) for _ in range(seeds)]
        losses = {
            rate: {str(seed): parabola(best, rate) + chance.gauss(0, 0.002) for seed, best in enumerate(own)}
            for rate in RATES
        }
        found = optimum(losses)
        assert found is not None
        assert found.interval is not None
        inside += found.interval.low <= 1e-3 <= found.interval.high
    # Two standard deviations of a share of 0.95 among 1,500 are 0.011.
    assert 0.93 < inside / worlds < 0.97
    one = optimum({rate: {"0": parabola(1e-3, rate)} for rate in RATES})
    assert one is not None
    assert (one.interval, one.seeds) == (None, 1)
