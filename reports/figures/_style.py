"""How all figures look: colours by method, sizes, axes, captions. The same records, the same file."""

from __future__ import annotations

import io
import textwrap
import zlib
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.values.columns import MEMORY_UNITS, MINUS, byte_unit

WIDTH = 8.0
"""Inches; 100 dots each."""
MOST_ROWS = 100
"""Of a figure that has a line for each."""
STYLE: dict[str, Any] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8e8e8",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": 100,
    "figure.dpi": 100,
    "text.parse_math": False,  # a name may have a $
    "svg.fonttype": "path",  # looks the same where the font is not installed
    "svg.hashsalt": "peft-harness",
}
GREY = "#6e6e6e"
FAINT = "#c4c4c4"
NAMED = {
    "lora": "#0072b2",
    "full": "#d55e00",
    "ia3": "#009e73",
    "prompt_tuning": "#e69f00",
    "prefix_tuning": "#cc79a7",
    "dora": "#56b4e9",
    "zero_shot": GREY,
    "few_shot": "#444444",
}
"""Okabe and Ito's palette, which the colour-blind tell apart."""
OTHERS = ("#332288", "#44aa99", "#117733", "#999933", "#cc6677", "#882255", "#aa4499")
"""Tol's muted palette, without what is too pale for a line."""
MARKERS = "osD^vPX"


def colour(method: str) -> str:
    """A method's colour in every figure."""
    return NAMED.get(method) or OTHERS[zlib.crc32(method.encode()) % len(OTHERS)]


def marker(method: str) -> str:
    """A method's marker in every figure."""
    names = list(NAMED)
    number = names.index(method) if method in names else zlib.crc32(method.encode()) // len(OTHERS)
    return MARKERS[number % len(MARKERS)]


def new_figure(height: float, title: str) -> Figure:
    """A figure of the common width, with its title at the left."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    return figure


def add_caption(figure: Figure, *sentences: str) -> None:
    """The lines under a figure, wrapped; empty sentences are left out."""
    text = " ".join(filter(None, sentences))
    figure.supxlabel("\n".join(textwrap.wrap(text, 118)), x=0.01, ha="left", fontsize=9, color=GREY)


def short(value: float, _: object = None) -> str:
    """A number of a few characters: 305k, 1.2M, 0.03."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}".replace("-", MINUS)
    return f"{value:.4g}".replace("-", MINUS)


def fit_axis(axes: Axes, which: Literal["x", "y"], values: Sequence[float], wide: float = 8) -> None:
    """Numbers of few characters; logarithmic where positive values lie further apart than `wide` times."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(short))
    if values and min(values) > 0 and max(values) > wide * min(values):
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        # Powers of ten, or 1, 2, 5 where few of those lie in the range.
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(values) < 100 * min(values) else (1,)))
        axis.set_major_formatter(FuncFormatter(short))
        axis.set_minor_formatter(NullFormatter())


def memory_unit(values: Sequence[float]) -> tuple[str, float]:
    """Unit and its bytes: one in which the numbers are short."""
    return byte_unit([max(values, default=0.0)], MEMORY_UNITS)


def row_axis(axes: Axes, labels: Sequence[str]) -> None:
    """A row for each label, the first at the bottom, and no more room above and below than between them."""
    axes.set_yticks(range(len(labels)), labels, fontsize=10)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def point(axes: Axes, at: tuple[float, float], method: str, ink: str, size: float = 7, alpha: float = 1) -> None:
    """A row's marker, above labels and bars."""
    x, y = at
    axes.plot(
        [x], [y], linestyle="", marker=marker(method), markersize=size, color=ink, alpha=alpha, zorder=4, gid="point",
        markeredgewidth=0,
    )  # fmt: skip


def error_bar(axes: Axes, x: float, y: float, ends: tuple[float, float], colour: str, across: bool = False) -> None:
    """A thin bar between two ends, along y or `across` it."""
    if across:
        axes.plot(ends, [y, y], color=colour, linewidth=1.2, alpha=0.7, solid_capstyle="butt", gid="interval")
    else:
        axes.plot([x, x], ends, color=colour, linewidth=1.2, alpha=0.7, solid_capstyle="butt", gid="interval")


def saved(figure: Figure, form: str) -> bytes:
    """The file's bytes; of an SVG, without a date."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, metadata={"Date": None} if form == "svg" else {})
    return buffer.getvalue()


def styled() -> Any:
    """The context in which figures are made and saved."""
    return matplotlib.rc_context(STYLE)  # type: ignore[arg-type]  # its keys are a literal type of 300 names
