"""What is reported of a row that was tuned is its true loss, in simulations where that is known."""

from __future__ import annotations

from benchmarks.tuning_flatters import WAYS, table


def test_tuning_on_validation_data_flatters_nothing_and_other_ways_do() -> None:
    fresh, shared, winner, on_test = WAYS
    lines = table(draws=1500, seed=7)
    assert len(lines) == 24
    for bowl, sampler, way, mean, half in lines:
        if way == fresh:
            assert abs(mean) < 1.5 * half, f"{bowl}, {sampler}: 2.9 standard errors, of six lines"
        elif way in (winner, on_test):
            assert mean < -3 * half, (bowl, sampler, way)
    luck = [mean for bowl, _, way, mean, half in lines if way == shared and bowl == "rates do nothing"]
    assert max(luck) < -1, "a seed that chose is flattering even as one of three"
