"""A table of the rates at which rows learn best, fitted to losses by rate, and of how that goes with the rank."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd
from scipy.stats import linregress

from harness.errors import UserError
from harness.results.record import Record
from harness.results.tuned import VAL_LOSS
from reports.read.rows import SEED, Group, groups, rate, rate_sets
from reports.read.runs import Sweep, finite
from reports.read.trials import costs
from reports.statistics.intervals import Interval, t_quantile
from reports.statistics.optimum import Optimum, optimum
from reports.statistics.scores import chosen_by
from reports.values.asked import Asked
from reports.values.table import MISSING, Cell, Heading, Table

RULES: dict[str, Callable[[float, float], float]] = {
    "alpha fixed": lambda alpha, rank: alpha,
    "alpha in proportion to the rank": lambda alpha, rank: alpha / rank,
    "alpha in proportion to the root of the rank": lambda alpha, rank: alpha / math.sqrt(rank),
}
"""What is equal in rows of several ranks, by the rule that their alphas follow."""
FEW = 3
"""Ranks of which a slope is fitted."""


@dataclass(frozen=True)
class Curve:
    """A row's validation losses by rate, and the rate at which they are lowest."""

    label: str
    record: Record
    """Of one of its runs or trials: what the row is, the rate and the seed aside."""
    losses: dict[float, dict[str, float]]
    """By rate and seed; where another score chose a tuned row's rate, that, its negative where more is better."""
    optimum: Optimum | None

    def setting(self, name: str) -> float | None:
        """A number of its method."""
        value = self.record.flat_key.get(f"settings.method.{name}")
        return float(value) if isinstance(value, (int, float)) else None


@dataclass(frozen=True)
class Slope:
    """How the optimum goes with the rank: in proportion to this power of it."""

    method: str
    rule: str
    ranks: tuple[int, ...]
    power: float
    interval: Interval
    """95%, of the regression of logarithms."""


def tables(asked: Asked) -> list[Table]:
    """`--table optima`. Raises UserError where the sweep has none."""
    curves = curves_of(asked.sweep)
    if not curves:
        raise UserError(f"{asked.sweep.name}: no row was run at three rates or more; give tune=lr, or sweep method.lr")
    full = next((curve.optimum for curve in curves if curve.record.method == "full" and curve.optimum), None)
    lines = [_line(curve, full) for curve in curves]
    frame = pd.DataFrame(lines)
    others = [group.tuned for group in groups(asked.sweep) if group.tuned and group.tuned.by != VAL_LOSS]
    headings = ["row", "rates", f"rate of the {'best score' if others else 'lowest loss'} [95%]", "times that of full"]
    cells = [
        (Cell(curve.label), Cell(str(line["rates"])), Cell(written(curve.optimum)), _times(line["times_full"]))
        for line, curve in zip(lines, curves, strict=True)
    ]
    notes = [("", text) for text in [*(sentence(each) for each in slopes(curves)), ABOUT]]
    title = f"{asked.sweep.name}: best rates"
    fitted = f"what chose ({chosen_by(others)}), else to validation losses" if others else "validation losses"
    about = f"Fitted to {fitted}: a parabola in the logarithm of the rate, around the best of those that were run."
    numeric = [Heading(text, place > 0) for place, text in enumerate(headings)]
    return [Table(title, (about,), tuple(numeric), tuple(cells), tuple(notes), frame)]


ABOUT = (
    "Intervals: Student's t over seeds, in the logarithm. A dash: the best rate is the outermost, or fewer than three "
    "were run to the end (tune.rungs=[] stops no trial early)."
)


def curves_of(sweep: Sweep) -> list[Curve]:
    """The rows of a sweep of which several rates are known: by their trials, or because they were swept."""
    every = groups(sweep)
    tuned = [_curve(group, costs(group.runs[0])) for group in every if group.tuned]
    sets = rate_sets([group for group in every if group.tuned is None])
    swept = [_curve(rows[0], _losses(rows)) for rows in sets if len({rate(row) for row in rows}) >= FEW]
    return [curve for curve in [*tuned, *swept] if curve.losses]


def _losses(rows: Sequence[Group]) -> dict[float, dict[str, float]]:
    """By rate and seed the validation loss of rows that differ in these alone."""
    known = [(record, finite(record.quality.get("val_loss"))) for row in rows for record in row.records]
    by_rate: dict[float, dict[str, float]] = {}
    for record, loss in known:
        if loss is not None and record.learning_rate:
            by_rate.setdefault(record.learning_rate, {})[str(record.flat_key.get(SEED))] = loss
    return by_rate


def _curve(group: Group, by_rate: dict[float, dict[str, float]]) -> Curve:
    return Curve(group.runs[0].label, group.records[0], by_rate, optimum(by_rate))


def slopes(curves: Sequence[Curve]) -> list[Slope]:
    """Of rows that differ in their rank, and in alpha as a rule has it."""
    found = []
    for rule, constant in RULES.items():
        alike: dict[tuple[str, float], list[tuple[float, float]]] = defaultdict(list)
        for curve in curves:
            rank, alpha = curve.setting("rank"), curve.setting("alpha")
            if curve.optimum and rank and alpha:
                key = curve.record.method, float(f"{constant(alpha, rank):.3g}")
                alike[key].append((rank, curve.optimum.rate))
        for (method, _), points in alike.items():
            if len({rank for rank, _ in points}) >= FEW:
                fit = linregress([math.log10(rank) for rank, _ in points], [math.log10(best) for _, best in points])
                half = t_quantile(len(points) - 2) * fit.stderr
                ranks = tuple(sorted({int(rank) for rank, _ in points}))
                found.append(Slope(method, rule, ranks, fit.slope, Interval(fit.slope - half, fit.slope + half)))
    return found


def sentence(slope: Slope) -> str:
    """In words."""
    low, high = slope.interval.low, slope.interval.high
    ranks = ", ".join(map(str, slope.ranks))
    return (
        f"{slope.method}, {slope.rule}, ranks {ranks}: the best rate goes with the rank to the power of "
        f"{slope.power:+.2f} [{low:+.2f}, {high:+.2f}]."
    )


def written(best: Optimum | None) -> str:
    """A rate with its interval."""
    if best is None:
        return MISSING
    interval = f" [{best.interval.low:.2g}, {best.interval.high:.2g}]" if best.interval else ""
    return f"{best.rate:.2g}{interval}"


def _line(curve: Curve, full: Optimum | None) -> dict[str, object]:
    """The raw numbers of a row."""
    best = curve.optimum
    return {
        "row": curve.label,
        "rank": curve.setting("rank"),
        "alpha": curve.setting("alpha"),
        "rates": len(curve.losses),
        "seeds": round(fmean(len(each) for each in curve.losses.values())),
        "rate": best.rate if best else None,
        "rate_low": best.interval.low if best and best.interval else None,
        "rate_high": best.interval.high if best and best.interval else None,
        "times_full": best.rate / full.rate if best and full else None,
    }


def _times(value: object) -> Cell:
    return Cell(MISSING if value is None else f"{value:.3g}")
