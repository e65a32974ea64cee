"""Peaks of memory by phase, stacked by owner where a record tells owners apart."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from harness.results import Memory
from reports.figures._data import Data, NoData, mean
from reports.figures._style import add_caption, memory_unit, new_figure, row_axis

Parts = Mapping[str, Mapping[str, int | None]]
"""By phase, by owner: bytes."""
OWNERS = ("#0072b2", "#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#999933", "#882255")


def parts(memory: Memory) -> Parts:
    """What is stacked, from one record: the one place that knows how it tells phases and owners."""
    if memory.train_cuda_allocated is not None:
        return {
            "training": _cuda(memory.train_cuda_allocated, memory.train_cuda_reserved),
            "evaluation": _cuda(memory.evaluate_cuda_allocated, memory.evaluate_cuda_reserved),
        }
    above = "resident memory above the loaded base"
    return {"training": {above: memory.train_rss_above_base}, "evaluation": {above: memory.evaluate_rss_above_base}}


def _cuda(allocated: int | None, reserved: int | None) -> Mapping[str, int | None]:
    idle = None if allocated is None or reserved is None else reserved - allocated
    return {"CUDA memory of tensors": allocated, "more that the allocator holds": idle}


def draw(data: Data) -> Figure:
    """A panel a phase, a bar a row, the largest first phase on top."""
    phases = list(dict.fromkeys(phase for record in data.records if record.memory for phase in parts(record.memory)))
    found: dict[str, dict[str, dict[str, float]]] = {phase: {} for phase in phases}
    for row in data.rows:
        known = [parts(record.memory) for record in row.records if record.memory]
        for phase, told in known[0].items() if len(known) == len(row.records) else ():
            for owner in told:
                # A seed that has no such owner makes the mean unknown.
                value = mean([each.get(phase, {}).get(owner) for each in known])
                if value:
                    found[phase].setdefault(row.label, {})[owner] = value.mean
    found = {phase: rows for phase, rows in found.items() if rows}
    if not found:
        raise NoData("no record has a peak of memory")
    first = next(iter(found.values()))
    everyone = list(dict.fromkeys(label for rows in found.values() for label in rows))
    labels = sorted(everyone, key=lambda label: sum(first.get(label, {}).values()))
    owners = list(dict.fromkeys(owner for rows in found.values() for row in rows.values() for owner in row))
    unit, size = memory_unit([sum(row.values()) for rows in found.values() for row in rows.values()])
    figure = new_figure(1.5 + 0.24 * max(len(labels), 4), f"{data.sweep.name}: peak memory [{unit}]")
    grid = figure.subplots(1, len(found), sharey=True, sharex=True, squeeze=False)[0]
    for axes, (phase, rows) in zip(grid, found.items(), strict=True):
        row_axis(axes, labels)
        left = [0.0] * len(labels)
        for owner, ink in zip(owners, OWNERS * len(owners), strict=False):
            widths = [rows.get(label, {}).get(owner, 0.0) / size for label in labels]
            axes.barh(range(len(labels)), widths, left=left, height=0.7, color=ink, label=owner, gid="bar")
            left = [a + b for a, b in zip(left, widths, strict=True)]
        for y, (label, end) in enumerate(zip(labels, left, strict=True)):
            axes.annotate(
                f"{end:.2f}" if label in rows else "—",
                (end, y),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        axes.set_title(phase, loc="left")
    grid[0].set_xlim(0, 1.2 * max(sum(row.values()) for rows in found.values() for row in rows.values()) / size)
    if len(owners) > 1:
        figure.legend(
            *grid[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=9
        )
    alone = f"Bars: {owners[0]}." if len(owners) == 1 else "Bars: stacked by owner."
    absent = [row.label for row in data.rows if row.label not in everyone]
    untold = f"Not measured: {', '.join(absent)}." if absent else ""
    add_caption(
        figure, " ".join(filter(None, [data.seeds(), alone, "Means over seeds." if data.several else "", untold]))
    )
    return figure
