"""Scores against rank, beside a paper's where the sweep is its counterpart."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from reports.figures._data import Data, NoData, Row, Value
from reports.figures._labels import Label, place, settle
from reports.figures._published import Published, published
from reports.figures._style import GREY, add_caption, colour, error_bar, fit_axis, marker, new_figure
from reports.tables.rank import RANK, rank_groups
from reports.values.frame import QUALITY_ORDER
from reports.values.protocol import either, text_at

SHOWN = 6
"""Scores, at most; those of the paper where there is one."""
DASHES = ("-", "--", ":", "-.")

Points = list[tuple[int, Value]]
"""Rank and score, by rank."""


def draw(data: Data) -> Figure:
    """A panel a score; with a paper's figures in a second column, on an axis of its own that spans as much."""
    lines = series(data)
    if not lines:
        raise NoData("no three finished rows differ only in rank")
    records = [record for rows in lines for row in rows for record in row.records]
    paper = published(records)
    names = [name for name in (*QUALITY_ORDER, data.score) if any(points_of(rows, name) for rows in lines)]
    twice = {"nist_pymteval"} if paper is None and "nist" in names else set()
    names = [n for n in dict.fromkeys(names) if n not in twice and (paper is None or n in paper.scores)][:SHOWN]
    if not names:
        raise NoData("its rows of several ranks have no score that the published table has")
    columns = 2 if paper or len(names) > 1 else 1
    height = math.ceil(len(names) / (1 if paper else columns))
    figure = new_figure(1.0 + 2.3 * height, f"{data.sweep.name}: scores by rank")
    grid = figure.subplots(height, columns, squeeze=False)
    for axes in grid.flat[(2 if paper else 1) * len(names) :]:
        axes.remove()
    ours = list(grid[:, 0]) if paper else list(grid.flat[: len(names)])
    labels: list[tuple[Axes, list[Label], list[tuple[float, float]]]] = []
    for n, (axes, name) in enumerate(zip(ours, names, strict=True)):
        dots: list[tuple[float, float]] = []
        named: list[Label] = []
        for style, rows in zip(DASHES * len(lines), lines, strict=False):
            points = points_of(rows, name)
            if points:
                line(axes, points, colour(rows[0].method), style, marker(rows[0].method))
                dots += [(rank, value.mean) for rank, value in points]
                named.append(Label(rows[0].label.partition(" r=")[0], *_end(points), colour(rows[0].method)))
        axes.set_ylabel(data.title(name))
        if paper:
            _beside(axes, grid[n, 1], paper, name, data.title(name))
        labels.append((axes, named if len(lines) > 1 else [], dots))
    for axes in grid[-1] if paper else ours[-columns:]:
        axes.set_xlabel("rank r")
    if paper:
        grid[0, 0].set_title(f"here: {either(records, lambda record: text_at(record, 'model.name'))}", loc="left")
        grid[0, 1].set_title(f"published: {paper.source}", loc="left")
    beside = "Published: another model, so an axis of its own, with the same span; without intervals." if paper else ""
    add_caption(figure, data.caption(), *dict.fromkeys(_rates(rows) for rows in lines), beside)
    settle(figure)
    for axes, named, dots in labels:
        place(figure, axes, named, dots)
    return figure


def series(data: Data) -> list[list[Row]]:
    """Rows that differ only in rank (and in an alpha in proportion to it), by rank."""
    by_id = {row.runs[0].id: row for row in data.rows}
    return [sorted((by_id[group.id] for group in rows), key=rank_of) for rows in rank_groups(data.sweep)]


def rank_of(row: Row) -> int:
    """Its rank."""
    return int(row.records[0].flat_key[RANK])


def points_of(rows: list[Row], name: str) -> Points:
    """The rows that have the score."""
    return [(rank_of(row), value) for row in rows if (value := row.score(name))]


def line(axes: Axes, points: Points, ink: str, style: str, mark: str) -> None:
    """A line through the means, with bars, on an axis of powers of two."""
    ranks, means = [rank for rank, _ in points], [value.mean for _, value in points]
    axes.plot(ranks, means, color=ink, linestyle=style, marker=mark, markersize=6, linewidth=1.4, gid="points")
    for rank, value in points:
        if value.interval:
            error_bar(axes, rank, value.mean, (value.interval.low, value.interval.high), ink)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(ranks[:: math.ceil(len(ranks) / 8)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    fit_axis(axes, "y", [])
    axes.margins(0.06, 0.12)


def _beside(ours: Axes, axes: Axes, paper: Published, name: str, title: str) -> None:
    """The paper's curve, its axis spanning as much as ours, or both as much as the wider one."""
    points: Points = [(rank, Value(value, None)) for rank, value in sorted(paper.scores[name].items())]
    line(axes, points, GREY, "-", "o")
    axes.set_ylabel(title)
    limits = [panel.get_ylim() for panel in (ours, axes)]
    half = max(high - low for low, high in limits) / 2
    for panel, (low, high) in zip((ours, axes), limits, strict=True):
        panel.set_ylim((low + high) / 2 - half, (low + high) / 2 + half)


def _rates(rows: list[Row]) -> str:
    """What learning rate the rows had."""
    rates = sorted({record.learning_rate for row in rows for record in row.records if record.learning_rate})
    if len(rates) == 1:
        return f"One learning rate, {rates[0]:g}, for every rank: the effects of rank and of rate are not told apart."
    return ""


def _end(points: Points) -> tuple[float, float]:
    return points[-1][0], points[-1][1].mean
