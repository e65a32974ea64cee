"""What was forgotten of text and of small instructions, against what was gained in the score."""

from __future__ import annotations

from matplotlib.figure import Figure

from reports.figures._data import Data, NoData, Row, Value, along, mean
from reports.figures._front import pareto
from reports.figures._labels import Label, place, settle
from reports.figures._style import GREY, add_caption, colour, error_bar, fit_axis, new_figure, point
from reports.read.runs import UnusablePredictions, finite
from reports.statistics.paired import Sampled, distance, sample
from reports.statistics.verdicts import is_zero_shot
from reports.values.frame import value_at

PANELS = (
    ("loss", "general text: change of loss [nats/token]"),
    ("panel", "panel: change of share right"),
)
ALL_LABELLED = 14
"""Rows up to which all are labelled; of more, those that nothing else beats in both."""


def draw(data: Data) -> Figure:
    """A panel for text, one for the panel's instructions; the gain is along x in both."""
    base = base_of(data)
    gains = {row.label: gain for row in data.rows if row.trained and (gain := gain_of(data, row, base))}
    panels = {}
    for name, title in PANELS:
        points = [
            (row, gains[row.label], lost) for row in data.rows if row.label in gains and (lost := change(row, name))
        ]
        if points:
            panels[title] = (points, name == "loss")
    if not panels:
        raise NoData("no trained row has both a measure of forgetting and a score of the base and after training")
    figure = new_figure(1.0 + 3.5 * len(panels), f"{data.sweep.name}: forgetting against gain")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, (points, is_loss)) in zip(grid, panels.items(), strict=True):
        axes.axhline(0, color=GREY, linewidth=1)
        chosen = labelled(data, points, is_loss)
        for row, gain, lost in points:
            ink = colour(row.method)
            if gain.interval and row in chosen:
                error_bar(axes, gain.mean, lost.mean, (gain.interval.low, gain.interval.high), ink, across=True)
            if lost.interval and row in chosen:
                error_bar(axes, gain.mean, lost.mean, (lost.interval.low, lost.interval.high), ink)
            point(axes, (gain.mean, lost.mean), row.method, ink, alpha=1.0 if row in chosen else 0.35)
        heights = sorted(abs(lost.mean) for _, _, lost in points)
        fit_axis(axes, "y", [])
        if is_loss and heights[-1] > 10 * heights[len(heights) // 2] > 0:
            axes.set_yscale("symlog", linthresh=0.1)
            fit_axis(axes, "y", [])
        axes.set_ylabel(title)
        axes.margins(0.08, 0.12)
    fit_axis(grid[-1], "x", [])
    grid[-1].set_xlabel(f"change of {data.main} from the untouched base")
    better = "lower right" if data.ascending else "lower left"
    some = any(len(points) > ALL_LABELLED for points, _ in panels.values())
    add_caption(
        figure,
        data.caption(),
        f"Text: {better} is better; panel: {better.replace('lower', 'upper')}.",
        "Labelled: rows that no other beats in both." if some else "",
    )
    settle(figure)
    for axes, (points, is_loss) in zip(grid, panels.values(), strict=True):
        chosen = labelled(data, points, is_loss)
        labels = [
            Label(row.label, gain.mean, lost.mean, colour(row.method)) for row, gain, lost in points if row in chosen
        ]
        dots = [(gain.mean, lost.mean) for _, gain, lost in points]
        bars = [(x, lost.mean) for row, gain, lost in points for x in along(gain) if row in chosen]
        place(figure, axes, labels, dots, bars)
    return figure


def base_of(data: Data) -> Sampled | None:
    """The zero-shot row under resampling, where there is one."""
    bases = [row for row in data.rows if is_zero_shot(row.records[0])]
    try:
        return sample(bases[0].runs, data.score) if len(bases) == 1 else None
    except UnusablePredictions:
        return None


def gain_of(data: Data, row: Row, base: Sampled | None) -> Value | None:
    """The change of the score from the zero-shot row on the same examples, paired; without one, from the record."""
    gain = mean(
        [_change(record.quality.get(data.score), record.base_quality.get(data.score)) for record in row.records]
    )
    if gain and base:
        try:
            return Value(gain.mean, distance(sample(row.runs, data.score), base))
        except UnusablePredictions:
            return gain
    return gain


def change(row: Row, name: str) -> Value | None:
    """After minus before: `loss` on general text, or the share of the `panel` that is right."""
    path = f"forgetting.{name}_"
    return mean([_change(value_at(r, path + "after"), value_at(r, path + "before")) for r in row.records])


def labelled(data: Data, points: list[tuple[Row, Value, Value]], is_loss: bool) -> list[Row]:
    """All rows, or of many those that no other beats in both gain and what was kept."""
    if len(points) <= ALL_LABELLED:
        return [row for row, _, _ in points]
    signs = (1 if data.ascending else -1), (-1 if is_loss else 1)
    return [points[i][0] for i in pareto([(signs[0] * gain.mean, signs[1] * lost.mean) for _, gain, lost in points])]


def _change(after: float | None, before: float | None) -> float | None:
    after, before = finite(after), finite(before)
    return None if after is None or before is None else after - before
