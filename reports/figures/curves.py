"""Training and validation loss by step."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pandas as pd
from matplotlib.figure import Figure

from reports.figures._data import Data, NoData, Row
from reports.figures._labels import Label, at_ends
from reports.figures._style import FAINT, GREY, add_caption, colour, fit_axis, new_figure

HIGHLIGHTED = 8
"""Rows that have a colour and a label where there are more."""
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
    panels = {name: found for name, found in curves.items() if found}
    if not panels:
        raise NoData("no run has a curve.jsonl")
    figure = new_figure(1.0 + 3.2 * len(panels), f"{data.sweep.name}: loss by step")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    last = {label: curve[max(curve)] for label, curve in list(panels.values())[-1].items()}
    chosen = sorted(last, key=lambda label: last[label])[:HIGHLIGHTED] if len(last) > HIGHLIGHTED + 4 else list(last)
    times: dict[str, int] = defaultdict(int)
    window = 1
    ends = []
    for axes, (name, found) in zip(grid, panels.items(), strict=True):
        labels = []
        times.clear()
        for row in rows:
            if row.label not in found:
                continue
            steps, losses = list(found[row.label]), list(found[row.label].values())
            if name == "loss":
                window = max(1, len(steps) // SMOOTHED)
                losses = list(pd.Series(losses).rolling(window, min_periods=1).mean())
            ink = colour(row.method) if row.label in chosen else FAINT
            dash = DASHES[times[row.method] % len(DASHES)] if row.label in chosen else "-"
            times[row.method] += 1
            mark = "o" if name == "val_loss" or len(steps) == 1 else None
            axes.plot(
                steps, losses, color=ink, linestyle=dash, linewidth=1.6, marker=mark, markersize=4, gid="curve",
                zorder=2 + (row.label in chosen),
            )  # fmt: skip
            if row.label in chosen:
                labels.append(Label(row.label, steps[-1], losses[-1], ink))
        axes.set_ylabel("training loss" if name == "loss" else data.title("val_loss"))
        fit_axis(axes, "y", [value for curve in found.values() for value in curve.values()])
        ends.append(labels)
    base = {
        value for row in rows for r in row.records if (value := r.base_quality.get("val_loss")) and math.isfinite(value)
    }
    if "val_loss" in panels and len(base) == 1:
        grid[-1].axhline(level := base.pop(), color=GREY, linestyle=":", linewidth=1)
        grid[-1].annotate(
            "the base",
            (0, level),
            (4, -12),
            xycoords=grid[-1].get_yaxis_transform(),
            textcoords="offset points",
            fontsize=9,
            color=GREY,
        )
    grid[-1].set_xlabel("optimizer step")
    smooth = (
        f"Training loss: running mean of {window} logged steps."
        if window > 1
        else "Training loss: of each logged step."
    )
    pale = f"Coloured: the {len(chosen)} rows of lowest loss at the end." if len(chosen) < len(last) else ""
    add_caption(figure, data.seeds(), "Lines: means over seeds." if data.several else "", smooth, pale)
    at_ends(figure, list(zip(grid, ends, strict=True)))
    return figure


def curve_of(row: Row, name: str) -> Curve:
    """A loss by step, mean over the seeds, at the steps that all of them have; not finite ones are left out."""
    read = [_read(run.folder / "curve.jsonl", name) for run in row.runs]
    shared = sorted(set.intersection(*(set(curve) for curve in read)))
    return {step: fmean(curve[step] for curve in read) for step in shared}


def _read(path: Path, name: str) -> Curve:
    """The file's values; a line that is not one, as the last of a killed run, is left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    found: Curve = {}
    for text in lines:
        try:
            line = json.loads(text)
            value = float(line[name])
            if math.isfinite(value):
                found[int(line["step"])] = value
        except (ValueError, TypeError, KeyError):
            continue
    return found
