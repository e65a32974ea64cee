"""Labels beside what they name, none over another.

adjustText loads pyplot, may end with labels that overlap, and takes ten times as long until crowded ones do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

DISTANCES = (9.0, 13.0, 18.0, 26.0, 36.0, 48.0, 64.0, 84.0, 108.0)
"""Of a label's nearest edge from its point, in pixels, nearest first."""
ANGLES = tuple(range(0, 360, 30))
GROUND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6}
"""Keeps a label readable over a line."""


@dataclass(frozen=True)
class Label:
    """A text and the point that it names, in data coordinates."""

    text: str
    x: float
    y: float
    colour: str


def settle(figure: Figure) -> None:
    """Lay the figure out once and for all, so that pixels can be counted."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def place(
    figure: Figure,
    axes: Axes,
    labels: Sequence[Label],
    points: Sequence[tuple[float, float]],
    bars: Sequence[tuple[float, float]] = (),
) -> list[Annotation]:
    """Write each label near its point: inside the axes, over no other label, over as few points as possible.

    `points`: all that are drawn, `bars`: places along their bars, both in data coordinates. The figure must be settled.
    A label far from its point gets a line to it.
    """
    inside = axes.get_window_extent()
    dots, strokes = (axes.transData.transform(np.reshape(list(pairs), (-1, 2))) for pairs in (points, bars))
    taken: list[Bbox] = []
    written = []
    for label in sorted(labels, key=lambda label: (-label.y, label.x, label.text)):
        note = axes.annotate(
            label.text,
            (label.x, label.y),
            (0, 0),
            textcoords="offset points",
            va="bottom",
            fontsize=10,
            color=label.colour,
            bbox=GROUND,
        )
        size = note.get_window_extent()
        at = axes.transData.transform((label.x, label.y))
        best: tuple[float, float, float, Bbox] | None = None
        for distance in DISTANCES:
            for angle in ANGLES:
                box = _beside(at, size.width, size.height, distance, math.radians(angle))
                if not _contains(inside, box) or any(box.overlaps(other) for other in taken):
                    continue
                cost = distance + 60 * _covered(box.padded(6), dots) + 3 * _covered(box, strokes)
                if best is None or cost < best[0]:
                    best = (cost, distance, angle, box)
        if best is None:  # no room at all: rather no label than one over another
            note.remove()
            continue
        _, distance, _, box = best
        note.set_position(((box.x0 - at[0]) * 72 / figure.dpi, (box.y0 - at[1]) * 72 / figure.dpi))
        if distance > DISTANCES[1]:
            nearest = (min(max(at[0], box.x0), box.x1), min(max(at[1], box.y0), box.y1))
            ends = axes.transData.inverted().transform(np.array([at, nearest]))
            axes.plot(ends[:, 0], ends[:, 1], color=label.colour, linewidth=0.6, alpha=0.6, gid="leader")
        taken.append(box.padded(1))
        written.append(note)
    return written


def _beside(at: NDArray[np.float64], width: float, height: float, distance: float, angle: float) -> Bbox:
    """The box of a label whose nearest edge or corner is `distance` from the point in the direction of the angle."""
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = at[0] + distance * cos, at[1] + distance * sin
    left = x - width * (1 - cos) / 2
    bottom = y - height * (1 - sin) / 2
    return Bbox.from_bounds(left, bottom, width, height)


def _covered(box: Bbox, points: NDArray[np.float64]) -> int:
    return int(np.all((box.min < points) & (points < box.max), axis=1).sum())


def _contains(outer: Bbox, inner: Bbox) -> bool:
    return bool(np.all(outer.min <= inner.min) and np.all(inner.max <= outer.max))


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, in their order, at least `gap` apart and within the bounds if they fit."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    placed: list[float] = []
    for i in order:
        placed.append(max(wanted[i], low, placed[-1] + gap if placed else low))
    ceiling = high
    for n in range(len(placed) - 1, -1, -1):
        placed[n] = min(placed[n], ceiling)
        ceiling = placed[n] - gap
    return [placed[order.index(i)] for i in range(len(wanted))]


def at_ends(figure: Figure, panels: Sequence[tuple[Axes, Sequence[Label]]]) -> None:
    """Write the labels of lines to the right of their axes, at the height of their ends or just beside it."""
    written = [(axes, label, _right_of(axes, label)) for axes, labels in panels for label in labels]
    settle(figure)
    for axes, _ in panels:
        own = [(label, note) for other, label, note in written if other is axes]
        if own:
            wanted = [float(axes.transData.transform((label.x, label.y))[1]) for label, _ in own]
            box = axes.get_window_extent()
            gap = max(note.get_window_extent().height for _, note in own)
            for (_, note), want, got in zip(own, wanted, spread(wanted, gap, box.y0, box.y1), strict=True):
                note.set_position((8, (got - want) * 72 / figure.dpi))


def _right_of(axes: Axes, label: Label) -> Annotation:
    return axes.annotate(
        label.text, (1, label.y), (8, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
        fontsize=10, color=label.colour, va="center", annotation_clip=False,
    )  # fmt: skip
