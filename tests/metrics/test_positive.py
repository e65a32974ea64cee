"""Intervals over seeds of what is never 0 or less: scipy as the witness; bars, cells and captions as they should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from matplotlib.figure import Figure

from harness.results.sections import Throughput
from reports.commands.table import report
from reports.figures import pareto, profile
from reports.figures._data import data_of
from reports.read.runs import load_sweep
from reports.statistics.intervals import positive_summary, seed_summary
from tests.support.records import add, key, sweep


def test_an_interval_of_logarithms_is_scipys_and_lies_around_its_mean() -> None:
    values = [400.0, 900.0, 1400.0, 2500.0]
    found = positive_summary(values)
    logs = np.log(values)
    known = np.exp(scipy.stats.t.interval(0.95, 3, loc=logs.mean(), scale=scipy.stats.sem(logs)))
    assert found.mean == pytest.approx(scipy.stats.gmean(values))
    assert found.how == "log t"
    assert found.interval
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(known))
    assert found.mean**2 == pytest.approx(found.interval.low * found.interval.high), "in its middle"


def test_two_seeds_have_a_range_and_one_has_nothing() -> None:
    plain = seed_summary([400.0, 1400.0])
    assert plain.interval
    assert plain.interval.low == pytest.approx(-5453, abs=1), "what a t interval would say of two speeds"
    two = positive_summary([1400.0, 400.0])
    assert two.interval
    assert (two.interval.low, two.interval.high, two.how) == (400.0, 1400.0, "range")
    assert two.mean == pytest.approx(560_000**0.5)
    assert positive_summary([7.0]).interval is None


@pytest.mark.parametrize("values", [[0.0, 5.0], [0.0, 5.0, 9.0]])
def test_a_zero_has_no_logarithm_and_so_a_range(values: list[float]) -> None:
    found = positive_summary(values)
    assert found.interval
    assert (found.interval.low, found.interval.high, found.how) == (0.0, max(values), "range")


def test_equal_values_stay_what_they_are() -> None:
    """Counts of parameters are the same for every seed, and no rounding of a logarithm changes them."""
    found = positive_summary([134_515_008.0] * 3)
    assert found.interval
    assert (found.mean, found.interval.low, found.interval.high) == (134_515_008.0, 134_515_008.0, 134_515_008.0)


def test_it_holds_the_true_median_in_95_percent_of_cases() -> None:
    """Of log-normal speeds, whose geometric mean is 1."""
    draws = np.exp(np.random.default_rng(0).normal(size=(4000, 3)))
    intervals = [positive_summary(row.tolist()).interval for row in draws]
    held = np.mean([each is not None and each.low <= 1.0 <= each.high for each in intervals])
    assert held == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


def rows(results: Path, speeds: dict[str, list[float]], losses: list[float] | None = None) -> None:
    """A sweep of two methods or more, a run for each speed."""
    runs = []
    for name, each in speeds.items():
        for seed, speed in enumerate(each):
            method = {"name": name}
            timed = Throughput(tokens_per_second=speed, samples_per_second=1, tokens_per_second_iqr=1, timed_steps=9)
            quality: dict[str, Any] = {"val_loss": losses[seed] if losses else 1.0 + seed}
            quality |= {} if losses else {"rougeL": 10.0 + seed}
            run = f"{name}-{seed}"
            given = {"key": key(method, settings__seed=seed), "label": name, "quality": quality, "throughput": timed}
            add(results, run, None, method, **given)
            runs.append(run)
    sweep(results, *runs)


def bars(figure: Figure, title: str) -> list[tuple[float, float]]:
    """Ends along x of the bars in the panel of this title."""
    panels = [
        axes for axes in figure.axes if title in f"{axes.get_xlabel()} {axes.get_title('left')}".replace("\n", " ")
    ]
    lines = [line for axes in panels for line in axes.lines if line.get_gid() == "interval"]
    ends = [[float(x) for x in np.asarray(line.get_xdata())] for line in lines]
    return [(min(each), max(each)) for each in ends if each[0] != each[1]]


@pytest.mark.parametrize("figure", [pareto, profile])
def test_no_bar_of_a_speed_begins_below_0(figure: Any, tmp_path: Path) -> None:
    rows(tmp_path, {"lora": [400.0, 1400.0], "ia3": [500.0, 600.0]})
    drawn = figure.draw(data_of(load_sweep(tmp_path, "s")))
    assert sorted(bars(drawn, "tokens/s")) == [(400.0, 1400.0), (500.0, 600.0)]
    said = " ".join(text.get_text() for text in drawn.texts).replace("\n", " ")
    assert "Bars of costs: the range of two seeds" in said


def test_three_seeds_have_an_interval_and_the_caption_says_which(tmp_path: Path) -> None:
    rows(tmp_path, {"lora": [400.0, 900.0, 1400.0], "ia3": [500.0, 600.0, 550.0]})
    drawn = pareto.draw(data_of(load_sweep(tmp_path, "s")))
    assert len(found := bars(drawn, "tokens/s")) == 2
    assert all(low > 0 for low, _ in found)
    said = " ".join(text.get_text() for text in drawn.texts).replace("\n", " ")
    assert "Student's t of logarithms" in said


def test_a_table_of_losses_names_the_range(tmp_path: Path) -> None:
    rows(tmp_path, {"lora": [400.0, 900.0]}, losses=[0.1, 1.9])
    text = report(tmp_path, ["s"], "markdown", "methods", score="val_loss")
    assert "validation loss over seeds [95% t interval of the geometric mean]" in text
    assert "[0.100, 1.900] [" in text
    assert "the range of the seeds" in text
