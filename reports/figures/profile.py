"""What each row costs and buys, a line a row: parameters, memory, speed, score, forgetting."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from reports.figures import forgetting
from reports.figures._data import Data, NoData, Value
from reports.figures._measures import caption_of, costs, memory
from reports.figures._style import (
    MOST_ROWS,
    add_caption,
    colour,
    error_bar,
    fit_axis,
    new_figure,
    point,
    row_axis,
    short,
)

BAND = "#f5f5f5"
TICKS = 3
"""Of a panel, at most; two where their numbers are long."""
LONGEST = 11
"""Characters of a panel's ticks."""


def draw(data: Data) -> Figure:
    """A panel a measure, the rows sorted by score, the best on top."""
    columns: list[tuple[str, dict[str, Value], bool]] = [(data.main, data.scores, False)]
    measures = [*costs(data), *([inference] if (inference := memory(data, "evaluate")) else [])]
    for measure in measures:
        known = {row.label: value for row in data.rows if (value := measure.of(row)) and value.mean > 0}
        columns.append((measure.title, known, True))
    lost = {row.label: v for row in data.rows if row.trained and (v := forgetting.change(row, "loss"))}
    columns.append(("general text: change of loss [nats/token]", lost, False))
    columns = [column for column in columns if column[1]]
    if not columns:
        raise NoData("no row has a score or a cost")
    sign = 1 if data.ascending else -1
    worth = {label: sign * value.mean for label, value in data.scores.items()}
    rows = sorted(data.rows, key=lambda row: worth.get(row.label, float("-inf")))[-MOST_ROWS:]
    figure = new_figure(2.0 + 0.24 * max(len(rows), 4), f"{data.sweep.name}: what each row costs and buys")
    widths = [1.4, *[1.0] * (len(columns) - 1)]
    grid = figure.subplots(1, len(columns), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, (title, values, is_cost) in zip(grid, columns, strict=True):
        row_axis(axes, [row.label for row in rows])
        for y, row in enumerate(rows):
            if y % 2:
                axes.axhspan(y - 0.5, y + 0.5, color=BAND, zorder=0, linewidth=0)
            if (value := values.get(row.label)) is None:
                continue
            ink = colour(row.method)
            if value.interval:
                error_bar(axes, value.mean, y, (value.interval.low, value.interval.high), ink, across=True)
            point(axes, (value.mean, y), row.method, ink, 6.5)
        _scale(axes, title, [value.mean for value in values.values()] if is_cost else [])
    cut = f"The {MOST_ROWS} best of {len(data.rows)} rows." if len(rows) < len(data.rows) else ""
    costs_caption = caption_of(value for _, values, is_cost in columns if is_cost for value in values.values())
    add_caption(figure, data.caption(), costs_caption, "Sorted by score; no dot: none, or not measured.", cut)
    return figure


def _scale(axes: Axes, title: str, values: list[float]) -> None:
    """Few ticks in a narrow panel, the title broken into lines of its words; logarithmic only for costs, `values`."""
    axes.margins(x=0.12)
    fit_axis(axes, "x", values)
    low, high = axes.get_xlim()
    inside = [tick for tick in axes.get_xticks() if low <= tick <= high]
    kept = inside[:: math.ceil(len(inside) / TICKS)] if len(inside) > TICKS else inside
    if sum(len(short(tick)) for tick in kept) > LONGEST:
        kept = [kept[0], kept[-1]]
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=9)
    axes.set_title(_broken(title), loc="left", fontsize=9)


def _broken(title: str) -> str:
    lines = [""]
    for word in title.split():
        if lines[-1] and len(lines[-1]) + len(word) > 12:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
