"""Peaks of memory by phase, stacked by owner where a record tells owners apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.results.record import Record
from harness.results.sections import EVALUATION, TRAINING, PhasePeak, Phases, highest, part
from reports.figures._data import Data, NoData, mean
from reports.figures._style import MOST_ROWS, add_caption, memory_unit, new_figure, row_axis

Parts = Mapping[str, Mapping[str, int | None]]
"""By phase, by owner: bytes."""
PANELS = {"training": TRAINING, "evaluation": EVALUATION}
"""What a panel of the ledger's shows the highest peak of."""
INKS = ("#0072b2", "#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#999933", "#882255")


def parts(record: Record) -> Parts:
    """What is stacked, from one record: the one place that knows how it tells phases and owners."""
    if record.ledger is not None:
        return {
            name: {owner.replace("_", " ").replace("kv", "KV"): size or None for owner, size in top.by_owner.items()}
            for name, names in PANELS.items()
            if (top := _top(part(record.ledger, names)))
        }
    memory = record.memory
    if memory is None:
        return {}
    if memory.train_cuda_allocated is not None:
        return {
            "training": _cuda(memory.train_cuda_allocated, memory.train_cuda_reserved),
            "evaluation": _cuda(memory.evaluate_cuda_allocated, memory.evaluate_cuda_reserved),
        }
    growth = "growth of resident memory"
    return {"training": {growth: memory.train_rss_growth}, "evaluation": {growth: memory.evaluate_rss_growth}}


def _top(phases: Phases) -> PhasePeak | None:
    """The highest peak, if there is a phase."""
    return highest(phases)[1] if phases else None


def _cuda(allocated: int | None, reserved: int | None) -> Mapping[str, int | None]:
    idle = None if allocated is None or reserved is None else reserved - allocated
    return {"CUDA memory of tensors": allocated, "more that the allocator holds": idle}


def draw(data: Data) -> Figure:
    """A panel a phase, a bar a row, the largest of the first phase on top."""
    by_phase = stacks(data)
    if not by_phase:
        raise NoData("no record has a peak of memory")
    first = next(iter(by_phase.values()))
    everyone = list(dict.fromkeys(label for rows in by_phase.values() for label in rows))
    labels = sorted(everyone, key=lambda label: sum(first.get(label, {}).values()))[-MOST_ROWS:]
    owners = list(dict.fromkeys(owner for rows in by_phase.values() for row in rows.values() for owner in row))
    most = max(sum(row.values()) for rows in by_phase.values() for row in rows.values())
    unit, size = memory_unit([most])
    figure = new_figure(1.5 + 0.24 * max(len(labels), 4), f"{data.sweep.name}: peak memory [{unit}]")
    grid = figure.subplots(1, len(by_phase), sharey=True, sharex=True, squeeze=False)[0]
    for axes, (phase, rows) in zip(grid, by_phase.items(), strict=True):
        row_axis(axes, labels)
        _bars(axes, [rows.get(label, {}) for label in labels], owners, size)
        axes.set_title(phase, loc="left")
    grid[0].set_xlim(0, 1.2 * most / size or 1)
    if len(owners) > 1:
        handles, names = grid[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    absent = [row.label for row in data.rows if row.label not in everyone]
    add_caption(
        figure,
        data.seeds(),
        f"Bars: {owners[0]}." if len(owners) == 1 else "Bars: stacked by owner.",
        "Means over seeds." if data.several else "",
        f"Not measured: {', '.join(absent[:8])}{' and others' if len(absent) > 8 else ''}." if absent else "",
        f"The {MOST_ROWS} largest of {len(everyone)} rows." if len(labels) < len(everyone) else "",
    )
    return figure


def stacks(data: Data) -> dict[str, dict[str, dict[str, float]]]:
    """By phase, by row, by owner: bytes, the mean over seeds, where each of them has it."""
    known = {row.label: [parts(record) for record in row.records] for row in data.rows}
    phases = dict.fromkeys(phase for each in known.values() for each_parts in each for phase in each_parts)
    by_phase: dict[str, dict[str, dict[str, float]]] = {}
    for phase in phases:
        for label, each in known.items():
            owners = dict.fromkeys(owner for each_parts in each for owner in each_parts.get(phase, {}))
            for owner in owners:
                if value := mean([each_parts.get(phase, {}).get(owner) for each_parts in each]):
                    by_phase.setdefault(phase, {}).setdefault(label, {})[owner] = value.mean
    return by_phase


def _bars(axes: Axes, rows: Sequence[Mapping[str, float]], owners: Sequence[str], size: float) -> None:
    """A stacked bar for each row, with its sum at the end."""
    left = [0.0] * len(rows)
    for owner, ink in zip(owners, INKS * len(owners), strict=False):
        widths = [row.get(owner, 0.0) / size for row in rows]
        axes.barh(range(len(rows)), widths, left=left, height=0.7, color=ink, label=owner)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for y, (row, end) in enumerate(zip(rows, left, strict=True)):
        label = f"{end:.2f}" if row else "\N{EM DASH}"
        axes.annotate(label, (end, y), (3, 0), textcoords="offset points", va="center", fontsize=9)
