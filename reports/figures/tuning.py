"""How each row's rate was chosen: validation loss of its trials against the rate, the score that chose where it was not
that, and the score at the chosen one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.results.tuned import VAL_LOSS
from reports.figures._data import Data, NoData, Row
from reports.figures._labels import Label, place, settle
from reports.figures._style import add_caption, colour, error_bar, fit_axis, marker, new_figure
from reports.read.run import Run
from reports.read.trials import losses, scores
from reports.statistics.scores import chosen_by
from reports.tables.tuned import Pair, pairs_of

Point = tuple[float, float]
"""Learning rate and loss or score."""


def draw(data: Data) -> Figure:
    """A line a row; rings mark what was chosen. Trials that stopped early are left out of the lines."""
    pairs = pairs_of(data.sweep)
    curves = {pair.chosen.id: curve(losses, pair) for pair in pairs}
    by = sorted({pair.chosen.tuned.by for pair in pairs if pair.chosen.tuned} - {VAL_LOSS})
    if not any(len(points) > 1 for points in curves.values()):
        raise NoData("its rows were not tuned, or the trials are not in its results folder")
    figure = new_figure(4.6, f"{data.sweep.name}: what was chosen")
    left, *middle, right = figure.subplots(1, 3 if by else 2)
    labels: list[Label] = []
    for pair in pairs:
        labels += _line(left, pair, curves[pair.chosen.id])
        for axes in middle:
            _line(axes, pair, curve(scores, pair))
    dots = [_scores(right, data, pair) for pair in pairs]
    title_of_middle = f"{' or '.join(map(data.title, by))}, validation examples"
    titles = ["validation loss [nats/token]", *[title_of_middle] * len(middle), data.main]
    for axes, title in zip((left, *middle, right), titles, strict=True):
        fit_axis(axes, "x", [rate for points in curves.values() for rate in points], wide=1)
        fit_axis(axes, "y", [])
        axes.margins(0.1, 0.15)
        axes.set_xlabel("learning rate")
        axes.set_ylabel(title)
    values = [(curves[p.chosen.id], p.chosen.tuned.value) for p in pairs if p.chosen.tuned]
    rings = [fmean(points[value]) for points, value in values if value in points]
    outside = _clip(left, [fmean(each) for points in curves.values() for each in points.values()], rings)
    words = chosen_by(pair.chosen.tuned for pair in pairs if pair.chosen.tuned)
    edges = [pair.chosen.label for pair in pairs if pair.chosen.tuned and pair.chosen.tuned.edge]
    add_caption(
        figure,
        f"{'Left, middle' if by else 'Left'}: trials that went to the end, with the range of their seeds; a ring marks "
        f"what was chosen{f', by {words}' if by else ''}.",
        outside,
        "Right: filled at the chosen rate, hollow at the row's own.",
        data.caption(),
        f"At the edge of its grid: {', '.join(edges)}." if edges else "",
    )
    settle(figure)
    place(figure, left, labels, [(rate, fmean(own)) for each in curves.values() for rate, own in each.items()])
    named = [
        Label(pair.chosen.label, *own[-1], colour(_method(pair))) for pair, own in zip(pairs, dots, strict=True) if own
    ]
    place(figure, right, named, [dot for own in dots for dot in own])
    return figure


def curve(of: Callable[[Run], dict[float, dict[str, float]]], pair: Pair) -> dict[float, list[float]]:
    """By rate, ascending, the final losses or scores of a row's trials, one a seed."""
    return {rate: list(seeds.values()) for rate, seeds in of(pair.chosen.runs[0]).items()}


def _clip(axes: Axes, losses: Sequence[float], chosen: Sequence[float]) -> str:
    """End the axis above nine in ten of the losses and all that were chosen, so that one training that went astray does
    not flatten the curves. Returns what lies beyond, in words; empty where nothing does."""
    least = min(losses)
    usual = max([float(np.quantile(losses, 0.9)), *chosen])
    top = usual + 0.3 * (usual - least)
    beyond = sorted(loss for loss in losses if loss > top)
    if not beyond or usual == least or beyond[-1] < usual + (usual - least):
        return ""
    axes.set_ylim(least - 0.3 * (usual - least), top)
    ends = dict.fromkeys(f"{beyond[i]:.3g}" for i in (0, -1))
    return f"Above its top: {len(beyond)} of {len(losses)}, {' to '.join(ends)}."


def _method(pair: Pair) -> str:
    return pair.chosen.records[0].method


def _line(axes: Axes, pair: Pair, points: dict[float, list[float]]) -> list[Label]:
    """A row's losses or scores, the range of its seeds as a band; and its label."""
    ink, tuned = colour(_method(pair)), pair.chosen.tuned
    if not points:
        return []
    rates, means = list(points), [fmean(each) for each in points.values()]
    axes.plot(rates, means, color=ink, marker=marker(_method(pair)), markersize=4, linewidth=1.4, gid="points")
    if any(len(each) > 1 for each in points.values()):
        lows, highs = [min(each) for each in points.values()], [max(each) for each in points.values()]
        axes.fill_between(rates, lows, highs, color=ink, alpha=0.15, linewidth=0)
    if tuned is None or tuned.value not in points:
        return []
    best = fmean(points[tuned.value])
    axes.plot([tuned.value], [best], marker="o", markersize=12, fillstyle="none", color=ink, linestyle="", gid="best")
    return [Label(f"{pair.chosen.label}: {tuned.value:g}", tuned.value, best, ink)]


def _scores(axes: Axes, data: Data, pair: Pair) -> Sequence[Point]:
    """A row's scores at its own rate and at the chosen one, joined."""
    ink, dots = colour(_method(pair)), []
    for group, style in ((pair.own if pair.own is not pair.chosen else None, "none"), (pair.chosen, "full")):
        rate = group.records[0].learning_rate if group else None
        value = Row(group.label, group.runs).score(data.score) if group else None
        if rate is None or value is None:
            continue
        shape = marker(_method(pair))
        axes.plot([rate], [value.mean], marker=shape, fillstyle=style, color=ink, linestyle="", gid=f"score {style}")
        if value.interval:
            error_bar(axes, rate, value.mean, (value.interval.low, value.interval.high), ink)
        dots.append((rate, value.mean))
    axes.plot([rate for rate, _ in dots], [score for _, score in dots], color=ink, linewidth=0.8, linestyle=":")
    return dots
