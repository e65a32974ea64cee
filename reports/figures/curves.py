"""Training and validation loss by step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures._data import Data, NoData, Row
from reports.figures._labels import Label, at_ends
from reports.figures._style import FAINT, GREY, add_caption, colour, fit_axis, new_figure
from reports.read.curves import losses_by_step
from reports.read.runs import finite

ALL_LABELLED, HIGHLIGHTED = 12, 8
"""Of more rows than the first, as many as the second have a colour and a label."""
SMOOTHED = 20
"""A curve is a running mean over one in so many of its steps."""
DASHES = ("-", "--", ":", "-.")

Curve = dict[int, float]
"""Step -> mean over the seeds."""


def draw(data: Data) -> Figure:
    """Training loss above validation loss; the lines of many rows are pale but for the best ones."""
    rows = [row for row in data.rows if row.trained]
    curves = {
        loss: {row.label: curve for row in rows if (curve := curve_of(row, loss))} for loss in ("loss", "val_loss")
    }
    panels = {name: drawn for name, drawn in curves.items() if drawn}
    if not panels:
        raise NoData("no run has a curve.jsonl")
    last = {label: curve[max(curve)] for drawn in panels.values() for label, curve in drawn.items()}
    chosen = sorted(last, key=lambda label: last[label])[:HIGHLIGHTED] if len(last) > ALL_LABELLED else list(last)
    window = max((len(curve) // SMOOTHED for curve in curves["loss"].values()), default=1) or 1
    figure = new_figure(1.0 + 3.2 * len(panels), f"{data.sweep.name}: loss by step")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    ends = []
    for axes, (name, drawn) in zip(grid, panels.items(), strict=True):
        ends.append((axes, _lines(axes, [row for row in rows if row.label in drawn], drawn, chosen, name, window)))
        axes.set_ylabel("training loss" if name == "loss" else data.title("val_loss"))
        if name == "val_loss":
            _base(axes, rows)
    grid[-1].set_xlabel("optimizer step")
    add_caption(
        figure,
        data.seeds(),
        "Lines: means over seeds." if data.several else "",
        f"Training loss: running mean of {window} logged steps." if window > 1 else "",
        f"Coloured: the {len(chosen)} rows of lowest loss at the end." if len(chosen) < len(last) else "",
    )
    at_ends(figure, ends)
    return figure


def _lines(
    axes: Axes, rows: Sequence[Row], curves: Mapping[str, Curve], chosen: Sequence[str], name: str, window: int
) -> list[Label]:
    """A line for each row, and the labels of the chosen ones; rows of one method differ in their dashes."""
    times: dict[str, int] = defaultdict(int)
    labels = []
    for row in rows:
        steps, losses = list(curves[row.label]), list(curves[row.label].values())
        if name == "loss":
            losses = list(pd.Series(losses).rolling(window, min_periods=1).mean())
        bold = row.label in chosen
        ink = colour(row.method) if bold else FAINT
        axes.plot(
            steps, losses, color=ink, linewidth=1.6, markersize=4, gid="curve", zorder=2 + bold,
            linestyle=DASHES[times[row.method] % len(DASHES)] if bold else "-",
            marker="o" if name == "val_loss" or len(steps) == 1 else None,
        )  # fmt: skip
        times[row.method] += 1
        labels += [Label(row.label, steps[-1], losses[-1], ink)] if bold else []
    fit_axis(axes, "y", [value for curve in curves.values() for value in curve.values()])
    return labels


def _base(axes: Axes, rows: Sequence[Row]) -> None:
    """The loss of the untouched base as a line, where all rows have the same."""
    losses = {value for row in rows for r in row.records if (value := finite(r.base_quality.get("val_loss")))}
    if len(losses) == 1:
        axes.axhline(level := losses.pop(), color=GREY, linestyle=":", linewidth=1)
        axes.annotate(
            "the base", (0, level), (4, -12), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
            fontsize=9, color=GREY,
        )  # fmt: skip


def curve_of(row: Row, name: str) -> Curve:
    """A loss by step, mean over the seeds, at the steps that all of them have; not finite ones are left out."""
    read = [losses_by_step(run.folder.curve, name) for run in row.runs]
    shared = sorted(set.intersection(*(set(curve) for curve in read)))
    return {step: fmean(curve[step] for curve in read) for step in shared}
