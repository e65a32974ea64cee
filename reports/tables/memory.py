"""Where the memory of each row went, and what was predicted of it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.results.sections import DEVICE_PARTS, OWNERS
from reports.read.runs import Sweep
from reports.statistics.verdicts import Comparison
from reports.tables._build import build
from reports.values import columns as c
from reports.values.asked import Asked
from reports.values.frame import tidy
from reports.values.table import Table

ABOUT = (
    "The highest peak of what tensors hold in any phase of a run: planned from shapes before anything was loaded, and "
    "counted by the ledger in a pass of its own after training, with its owners at that moment. Beside it the device's "
    "own peak in that pass (which may be at another moment), what it consists of, and the device's peaks in the run "
    "itself. Protocol: docs/memory.md."
)
COUNTED = (
    c.Column("planned_peak_bytes", "planned peak", "memory"),
    c.Column("ledger_peak_bytes", "counted peak", "memory"),
    c.Column("plan_error_percent", "planned against counted", "signed_percent", "%"),
    c.Column("ledger_peak_phase", "in", "text"),
)
DEVICE = (
    c.Column("device_peak_bytes", "device's peak", "memory"),
    c.Column("device_tensors_bytes", "of which tensors", "memory"),
)
RESIDUAL = c.Column("device_residual_percent", "unexplained", "signed_percent", "% of the device's peak")


def tables(asked: Asked) -> list[Table]:
    """`--table memory`. Raises UserError where the sweep has none."""
    return [memory_table(asked.sweep, asked.comparison)]


def memory_table(sweep: Sweep, comparison: Comparison) -> Table:
    """A line a row: planned and counted peak, the error of the plan, owners at the peak, and the device's peaks."""
    cost = Comparison(hardware=comparison.hardware)  # costs are figures, not scores that rows are ranked by
    frame = tidy(sweep, cost)
    owners = _held(frame, "ledger_peak_{}_bytes", OWNERS)
    parts = _held(frame, "device_{}_bytes", [part for part in DEVICE_PARTS if part != "tensors"])
    shown = (*c.LABEL, *COUNTED, *owners, *DEVICE, *parts, RESIDUAL, *c.device_columns(frame))
    return build(f"{sweep.name}: memory", (ABOUT,), shown, sweep, cost, frame)


def _held(frame: pd.DataFrame, pattern: str, names: Sequence[str]) -> list[c.Column]:
    """The columns of names that hold anything in any row."""
    columns = [c.Column(pattern.format(name), name.replace("_", " ").replace("kv", "KV"), "memory") for name in names]
    return [column for column in columns if (frame[column.key].fillna(0) != 0).any()]
