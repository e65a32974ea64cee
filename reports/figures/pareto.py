"""Quality against training memory, trainable parameters and speed, with the Pareto fronts."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures._data import Data, NoData, Row, Value, along
from reports.figures._front import pareto
from reports.figures._labels import Label, place, settle
from reports.figures._measures import Measure, caption_of, costs
from reports.figures._style import FAINT, GREY, add_caption, colour, error_bar, fit_axis, new_figure, point

ALL_LABELLED = 12
"""Rows up to which those off the front are labelled too."""


def draw(data: Data) -> Figure:
    """A panel for each cost; rows off the front are pale."""
    panels = [(measure, points) for measure in costs(data) if len(points := points_of(data, measure)) > 1]
    if not panels:
        raise NoData("fewer than two trained rows have both a score and a cost")
    figure = new_figure(0.9 + 3.3 * len(panels), f"{data.sweep.name}: {data.main} against cost")
    grid = figure.subplots(len(panels), 1, squeeze=False)
    for axes, (measure, points) in zip(grid[:, 0], panels, strict=True):
        _axes(axes, data, measure, points)
    others = [
        f"{row.label} {data.scores[row.label].mean:.4g}"
        for row in data.rows
        if not row.trained and row.label in data.scores
    ]
    add_caption(
        figure,
        data.caption(),
        "Line and coloured points: Pareto front of the means; the tables say which rows are tied.",
        caption_of(cost for _, points in panels for _, cost, _ in points),
        f"Untrained: {', '.join(others)}." if others else "",
    )
    settle(figure)
    for axes, (measure, points) in zip(grid[:, 0], panels, strict=True):
        chosen = front_of(data, measure, points)
        labels = [
            Label(row.label, cost.mean, score.mean, "#111111" if row in chosen else GREY)
            for row, cost, score in points
            if row in chosen or len(points) <= ALL_LABELLED
        ]
        dots = [(cost.mean, score.mean) for _, cost, score in points]
        bars = [(cost.mean, y) for row, cost, score in points for y in along(score) if row in chosen]
        place(figure, axes, labels, dots, bars)
    return figure


def points_of(data: Data, measure: Measure) -> list[tuple[Row, Value, Value]]:
    """The trained rows that have the cost and the score, with both."""
    return [
        (row, value, data.scores[row.label])
        for row in data.rows
        if row.trained and row.label in data.scores and (value := measure.of(row)) and value.mean > 0
    ]


def front_of(data: Data, measure: Measure, points: Sequence[tuple[Row, Value, Value]]) -> list[Row]:
    """The rows that no other row is at least as good as in both and better in one."""
    good = [
        (-cost.mean if measure.lower_is_better else cost.mean, score.mean if data.ascending else -score.mean)
        for _, cost, score in points
    ]
    return [points[i][0] for i in pareto(good)]


def _axes(axes: Axes, data: Data, measure: Measure, points: Sequence[tuple[Row, Value, Value]]) -> None:
    """The points, their bars, the front and the untrained rows as lines."""
    chosen = front_of(data, measure, points)
    for row, cost, score in points:
        ink = colour(row.method) if row in chosen else FAINT
        if score.interval and (row in chosen or len(points) <= ALL_LABELLED):
            error_bar(axes, cost.mean, score.mean, (score.interval.low, score.interval.high), ink)
        if cost.interval:
            error_bar(axes, cost.mean, score.mean, (cost.interval.low, cost.interval.high), ink, across=True)
        size = 7 if row in chosen or len(points) <= ALL_LABELLED else 4.5
        point(axes, (cost.mean, score.mean), row.method, ink, size)
    line = sorted((cost.mean, score.mean) for row, cost, score in points if row in chosen)
    step = "steps-post" if measure.lower_is_better else "steps-pre"
    axes.plot(*zip(*line, strict=True), drawstyle=step, color="#999999", linewidth=1, zorder=1, gid="front")
    fit_axis(axes, "x", [cost.mean for _, cost, _ in points])
    fit_axis(axes, "y", [])
    axes.set_xlabel(measure.title)
    axes.set_ylabel(data.main)
    axes.margins(0.08, 0.12)
    low, high = axes.get_ylim()
    for row in data.rows:
        if not row.trained and row.label in data.scores and low <= (level := data.scores[row.label].mean) <= high:
            axes.axhline(level, color=GREY, linewidth=1, linestyle=":", gid="untrained")
