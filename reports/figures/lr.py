"""The score against the learning rate, where rows differ only in that; the best one, and whether it ends the grid."""

from __future__ import annotations

from matplotlib.figure import Figure

from reports.figures._data import Data, NoData, Row, Value, along
from reports.figures._labels import Label, place, settle
from reports.figures._style import add_caption, colour, error_bar, fit_axis, marker, new_figure
from reports.read.rows import Group, rate_sets, table_rows
from reports.tables.lr import chosen

LEAST = 2
"""Rates that make a curve."""
DASHES = ("-", "--", ":", "-.")

Points = list[tuple[float, Value]]
"""Learning rate and score, by rate."""


def draw(data: Data) -> Figure:
    """A line for each set of rows that differ only in the rate."""
    lines = [(rows, points) for rows in series(data) if len(points := points_of(data, rows)) >= LEAST]
    if not lines:
        raise NoData("no rows differ only in the learning rate")
    figure = new_figure(5.0, f"{data.sweep.name}: {data.main} by learning rate")
    axes = figure.subplots()
    labels, edges, dots, bars = [], [], [], []
    for style, (rows, points) in zip(DASHES * len(lines), lines, strict=False):
        ink = colour(rows[0].method)
        at, score = best(rows, points) or (None, None)
        axes.plot(
            [rate for rate, _ in points], [value.mean for _, value in points], color=ink, linestyle=style,
            marker=marker(rows[0].method), markersize=5, linewidth=1.4, gid="points",
        )  # fmt: skip
        for rate, value in points:
            if value.interval:
                error_bar(axes, rate, value.mean, (value.interval.low, value.interval.high), ink)
        name = rows[0].runs[0].label
        if at is not None and score is not None:
            axes.plot(
                [at], [score.mean], marker="o", markersize=13, fillstyle="none", color=ink, linestyle="", gid="best"
            )
            edge = at in (points[0][0], points[-1][0])
            edges += [f"{name} {at:g}"] if edge else []
            labels.append(Label(f"{name}: best {at:g}{' (edge of the grid)' if edge else ''}", at, score.mean, ink))
        dots += [(rate, value.mean) for rate, value in points]
        bars += [(rate, y) for rate, value in points for y in along(value)]
    fit_axis(axes, "x", [rate for _, points in lines for rate, _ in points], wide=1)
    fit_axis(axes, "y", [])
    axes.margins(0.08, 0.15)
    axes.set_xlabel("learning rate")
    axes.set_ylabel(data.main)
    flagged = f"A better rate may lie beyond the grid: {', '.join(edges)}." if edges else ""
    add_caption(figure, data.caption(), "Ring: the rate of the lowest validation loss.", flagged)
    settle(figure)
    place(figure, axes, labels, dots, bars)
    return figure


def series(data: Data) -> list[list[Row]]:
    """Rows whose keys are equal but for the learning rate and the seed, by rate."""
    by_id = {row.runs[0].id: row for row in data.rows}
    return [[by_id[group.id] for group in rows] for rows in rate_sets(table_rows(data.sweep))]


def points_of(data: Data, rows: list[Row]) -> Points:
    """Those that have the score."""
    return [
        (rate, data.scores[r.label]) for r in rows if r.label in data.scores and (rate := r.records[0].learning_rate)
    ]


def best(rows: list[Row], points: Points) -> tuple[float, Value] | None:
    """The point of the lowest validation loss, the mean over seeds; of equal ones that of the lowest rate. None
    where it is not known."""
    ids = chosen([Group(row.label, row.runs) for row in rows])
    rates = {row.records[0].learning_rate for row in rows if row.runs[0].id in ids}
    return next((point for point in points if point[0] in rates), None)
