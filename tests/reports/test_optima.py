"""Best rates by rank: ours from losses whose best rate is known, the published ones by a second way of fitting."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.errors import UserError
from reports.commands.paper import main
from reports.commands.table import report
from reports.published.rates import optima, power, read_rates
from reports.read.runs import load_sweep
from reports.tables.optima import curves_of, slopes
from tests.support.records import add, key
from tests.support.tables import everything

RATES = [1e-3 * 10 ** (place / 2) for place in range(-2, 4)]


def ranks(results: Path, best_of: dict[tuple[str, int, float], float]) -> None:
    """A sweep `s` over rates: by method, rank and alpha the rate of the lowest loss."""
    for (name, rank, alpha), best in best_of.items():
        for place, rate in enumerate(RATES):
            for seed in (0, 1):
                settings = {"name": name, "rank": rank, "alpha": alpha, "lr": rate}
                loss = 1.4 + 0.2 * math.log10(rate / best) ** 2
                run = f"{name}-{rank}-{alpha:g}-{place}-{seed}"
                add(results, run, None, settings, label=f"{name} r={rank}", learning_rate=rate,
                    quality={"val_loss": loss, "bleu": 10.0}, key=key(settings, settings__seed=seed))  # fmt: skip
    everything(results)


def test_the_power_of_the_rank_is_that_of_the_losses_for_each_rule_of_alpha(tmp_path: Path) -> None:
    fixed = {("lora", rank, 16.0): 1e-3 * rank**0.25 for rank in (1, 4, 16, 64)}
    in_proportion = {("dora", rank, 2.0 * rank): 6e-3 * rank**-0.1 for rank in (1, 4, 16)}
    root = {("rslora", rank, 8 * math.sqrt(rank)): 4e-3 for rank in (1, 4, 16)}
    ranks(tmp_path, fixed | in_proportion | root | {("full", 1, 1.0): 1e-3})
    curves = curves_of(load_sweep(tmp_path, "s"))
    for curve in curves:
        known = {**fixed, **in_proportion, **root, ("full", 1, 1.0): 1e-3}
        assert curve.optimum is not None
        of = known[curve.record.method, int(curve.setting("rank") or 0), float(curve.setting("alpha") or 0)]
        assert curve.optimum.rate == pytest.approx(of, rel=1e-6)
    found = {(slope.method, slope.rule): slope.power for slope in slopes(curves)}
    assert found == {
        ("lora", "alpha fixed"): pytest.approx(0.25, abs=1e-6),
        ("dora", "alpha in proportion to the rank"): pytest.approx(-0.1, abs=1e-6),
        ("rslora", "alpha in proportion to the root of the rank"): pytest.approx(0, abs=1e-6),
    }
    frame = pd.read_csv(io.StringIO(report(tmp_path, ["s"], "csv", "optima")))
    assert frame.set_index(["row", "rank"])["times_full"]["dora r=1", 1.0] == pytest.approx(6, rel=1e-6)


def test_rows_that_differ_in_alpha_alone_have_it_in_their_names(tmp_path: Path) -> None:
    ranks(tmp_path, {("lora", 4, 4.0): 2e-3, ("lora", 4, 32.0): 1e-3, ("lora", 16, 32.0): 1e-3})
    labels = {curve.label for curve in curves_of(load_sweep(tmp_path, "s"))}
    assert labels == {"lora r=4, alpha 4", "lora r=4, alpha 32", "lora r=16"}


def test_rows_of_one_rate_have_no_such_table(tmp_path: Path) -> None:
    add(tmp_path, "one", None, {"name": "lora", "rank": 8, "lr": 1e-3}, learning_rate=1e-3)
    everything(tmp_path)
    with pytest.raises(UserError, match="no row was run at three rates or more"):
        report(tmp_path, ["s"], "markdown", "optima")


def test_the_published_power_by_dummies_of_models_and_each_parabola_by_its_three_points(tmp_path: Path) -> None:
    points = read_rates("tinker_sft_sweep")
    best = optima(points)
    checked = 0
    for _, row in best.iterrows():
        part = points[(points["model"] == row["model"]) & (points["rank"] == row["rank"])].sort_values("lr")
        losses, at = part["loss"].to_numpy(), np.log10(part["lr"].to_numpy(dtype=float))
        middle = int(losses.argmin())
        (x, y, z), (a, b, c) = at[middle - 1 : middle + 2], losses[middle - 1 : middle + 2]
        if (abs(np.delete(at, [middle - 1, middle, middle + 1]) - y) > 0.51).all():  # else more than three are fitted
            # Lagrange's formula of the parabola through three points.
            left, right = (y - x) * (b - c), (y - z) * (b - a)
            lowest = y - ((y - x) * left - (y - z) * right) / (2 * (left - right))
            assert row["rate"] == pytest.approx(10**lowest, rel=1e-6)
            checked += 1
    assert checked > 50
    models = pd.get_dummies(best["model"]).to_numpy(dtype=float)
    design = np.column_stack([models, np.log10(best["rank"].astype(float))])
    expected = np.linalg.lstsq(design, np.log10(best["rate"].astype(float)), rcond=None)[0][-1]
    assert power(best) == pytest.approx(expected)
    output = tmp_path / "table.md"
    assert main(["tinker_sft_sweep", "--output", str(output)]) == 0
    assert "to the power of +0.19 [" in output.read_text()


def test_ours_stand_beside_the_published_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranks(tmp_path, {("lora", rank, 32.0): 2e-3 for rank in (1, 4, 16)})
    assert main(["tinker_sft_sweep", "--results", str(tmp_path), "--sweep", "s"]) == 0
    said = capsys.readouterr().out
    assert "lora r=16: 0.002 [" in said
    assert "Ours, s: lora, alpha fixed, ranks 1, 4, 16: the best rate goes with the rank to the power of +0.00" in said
