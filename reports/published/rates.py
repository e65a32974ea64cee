"""Published sweeps of learning rates, reports/papers/NAME.csv, a line a run: what follows of them, and ours beside."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from reports.published.files import FOLDER
from reports.read.runs import Sweep
from reports.statistics.optimum import vertex
from reports.tables.optima import Curve, curves_of, sentence, slopes, written
from reports.values.table import MISSING, Cell, Heading, Table

RESAMPLES = 1000
ABOUT = {
    "tinker_sft_sweep": "Thinking Machines' sweep of supervised fine-tuning (tulu3; LoRA with alpha 32 at every rank, "
    "batch 128, 780 steps, one run a point): negative log-likelihood of test data, nats a token; points that diverged "
    "are left out in the source.",
}
"""By name: what was published."""
TITLES = {"tinker_sft_sweep": "Rates by rank of 35 models, SFT with LoRA (Thinking Machines)"}


def rate_names() -> list[str]:
    """The published sweeps there are."""
    return sorted(path.stem for path in FOLDER.glob("*.csv"))


def read_rates(name: str) -> pd.DataFrame:
    """A line a model, rank and rate: `loss`, the mean where a point was run again."""
    frame = pd.read_csv(FOLDER / f"{name}.csv")
    return frame.groupby(["model", "rank", "lr"]).agg(loss=("test_nll", "mean")).reset_index()


def optima(points: pd.DataFrame) -> pd.DataFrame:
    """A line a model and rank whose best rate is bracketed by others: `rate` of the lowest loss."""
    fitted = [
        {"model": model, "rank": rank, "rate": vertex(dict(zip(part["lr"], part["loss"], strict=True)))}
        for (model, rank), part in points.groupby(["model", "rank"])
    ]
    return pd.DataFrame(fitted).dropna()


def power(best: pd.DataFrame) -> float:
    """The power of the rank with which the best rate goes: least squares of logarithms within models."""
    logs = pd.DataFrame({name: np.log10(best[name].astype(float)) for name in ("rank", "rate")})
    centred = logs - logs.groupby(best["model"]).transform("mean")
    return float((centred["rank"] * centred["rate"]).sum() / (centred["rank"] ** 2).sum())


def power_interval(best: pd.DataFrame) -> tuple[float, float]:
    """Its 95% interval: models drawn anew."""
    chance = np.random.default_rng(0)
    parts = [part for _, part in best.groupby("model")]
    powers = []
    for _ in range(RESAMPLES):
        chosen = enumerate(chance.integers(len(parts), size=len(parts)))
        drawn = [parts[place].assign(model=number) for number, place in chosen]
        powers.append(power(pd.concat(drawn)))
    low, high = np.quantile([each for each in powers if math.isfinite(each)], [0.025, 0.975])
    return float(low), float(high)


def rate_tables(name: str, sweeps: Sequence[Sweep]) -> list[Table]:
    """The best rate by rank, published and ours."""
    points = read_rates(name)
    best = optima(points)
    ours = [(sweep, curve) for sweep in sweeps for curve in curves_of(sweep) if curve.setting("rank")]
    ranks = sorted({int(rank) for rank in points["rank"]} | {int(curve.setting("rank") or 0) for _, curve in ours})
    lines = [_line(rank, points, best, [curve for _, curve in ours]) for rank in ranks]
    headings = ["rank", "models", "best rate bracketed", "best rate: middle of models", "half of them"]
    headings += ["ours [95%]"] if ours else []
    rows = tuple(tuple(Cell(text) for text in line[: len(headings)]) for line in lines)
    low, high = power_interval(best)
    notes = [
        f"Published: the best rate goes with the rank to the power of {power(best):+.2f} [{low:+.2f}, {high:+.2f}] "
        f"(within models, 95% by drawing {best['model'].nunique()} models anew), alpha being fixed."
    ]
    notes += [f"Ours, {sweep.name}: {sentence(each)}" for sweep in sweeps for each in slopes(curves_of(sweep))]
    notes += (
        [] if ours else ["Ours: not run; a sweep that is tuned, or swept over method.lr, is put beside with --sweep."]
    )
    notes += [
        "Best rates: the lowest point of a parabola in the logarithm of the rate, around the best of those run. Where "
        "the best is the outermost (at high ranks mostly the highest that did not diverge) there is none, which makes "
        "the power of the rank look smaller than it is."
    ]
    title = f"{name}: best rate by rank"
    numeric = tuple(Heading(text, True) for text in headings)
    return [Table(title, (ABOUT[name],), numeric, rows, tuple(("", note) for note in notes), best)]


def _line(rank: int, points: pd.DataFrame, best: pd.DataFrame, ours: Sequence[Curve]) -> list[str]:
    """The cells of a rank."""
    models = points[points["rank"] == rank]["model"].nunique()
    own = best[best["rank"] == rank]["rate"]
    known = [MISSING, MISSING]
    if len(own):
        low, high = own.quantile([0.25, 0.75])
        known = [f"{own.median():.2g}", f"{low:.2g} to {high:.2g}"]
    beside = "; ".join(f"{c.label}: {written(c.optimum)}" for c in ours if int(c.setting("rank") or 0) == rank)
    return [str(rank), str(models or MISSING), str(len(own) or MISSING), *known, beside or MISSING]
