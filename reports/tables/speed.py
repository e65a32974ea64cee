"""Speed of training: steps, where their time goes, FLOPs and utilization, time to a loss; noisy machines are marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.errors import UserError
from harness.results.record import Record
from harness.results.sections import STEP_PARTS
from reports.read.curves import curve_lines, reach, why_not
from reports.read.run import Run
from reports.read.runs import Sweep
from reports.statistics.verdicts import is_trained
from reports.values.asked import Asked
from reports.values.columns import written
from reports.values.frame import value_at, why_missing
from reports.values.notes import Notes, noisy
from reports.values.table import MISSING, Cell, Heading, Table

ABOUT = (
    "Training after its warm-up. Step: median and 95th percentile, excluding data loading. Shares: of the time in "
    "which batches are made, passed forward and backward, weights are stepped, and lines are logged. FLOP: of forward "
    "and backward passes, padding's too, per token of text. Peak: of square products in the run's dtype on the same "
    "threads, in the same run."
)
COLUMNS: tuple[tuple[str, str, str, float], ...] = (
    ("tokens_per_second", "throughput.tokens_per_second", "training [tokens/s]", 1),
    ("step_seconds_p50", "throughput.step_seconds_p50", "step p50 [ms]", 1e3),
    ("step_seconds_p95", "throughput.step_seconds_p95", "p95 [ms]", 1e3),
    *((f"{part}_share", f"throughput.shares.{part}", f"{part} [%]", 100) for part in STEP_PARTS),
    ("flops_per_token", "throughput.flops_per_token", "per token [MFLOP]", 1e-6),
    ("flops_per_second", "throughput.flops_per_second", "reached [GFLOP/s]", 1e-9),
    ("gemm_flops_per_second", "throughput.gemm_flops_per_second", "peak [GFLOP/s]", 1e-9),
    ("utilization", "throughput.utilization", "utilization [%]", 100),
)
"""Column of the raw numbers, field of the record, heading, and the field's unit in units of the heading."""
TO_LOSS = (("seconds_to_loss", "to a loss of {} [s]"), ("tokens_to_loss", "to a loss of {} [tokens]"))


def tables(asked: Asked) -> list[Table]:
    """`--table speed`. Raises UserError where the sweep has none."""
    return [speed_table(asked.sweep, asked.options.get("reach"))]


def speed_table(sweep: Sweep, loss: float | None) -> Table:
    """A row a trained run; `loss`: also when its validation loss came down to it. Raises UserError where none is."""
    trained = [(run, record) for run, record in sweep.done if is_trained(record)]
    if not trained:
        raise UserError(f"{sweep.name}: no trained run is done, so there is nothing to time; run the sweep first")
    notes = Notes()
    labels = [run.label for run, _ in trained]
    frame = pd.DataFrame([_row(sweep, run, record, loss) for run, record in trained])
    headings, cells = [Heading("row", False)], [[_label(run, record, labels) for run, record in trained]]
    absent: list[str] = []
    for key, path, title, size in COLUMNS:
        if frame[key].isna().all():
            absent.append(title)
            continue
        marks = [_marks(record, notes) if key == "tokens_per_second" else () for _, record in trained]
        missing = [why_missing(record, path) for _, record in trained]
        headings.append(Heading(title, True))
        cells.append(_cells(frame[key], size, marks, missing, notes))
    for key, title in TO_LOSS if loss is not None else ():
        headings.append(Heading(title.format(f"{loss:g}"), True))
        missing = [why_not(curve_lines(run.folder.curve, "tokens", "seconds")) for run, _ in trained]
        cells.append(_cells(frame[key], 1, [()] * len(trained), missing, notes))
    lines = [*notes.marked, *([("", f"Left out, since no row has a value: {', '.join(absent)}.")] if absent else [])]
    if omitted := "; ".join(
        f"{run.label} ({run.status if run.done is None else 'not trained'})" for run in _others(sweep)
    ):
        lines.append(("", f"Left out: {omitted}."))
    rows = tuple(zip(*cells, strict=True))
    return Table(f"{sweep.name}: speed of training", (ABOUT,), tuple(headings), rows, tuple(lines), frame)


def _others(sweep: Sweep) -> list[Run]:
    return [run for run in sweep.runs if run.done is None or not is_trained(run.done)]


def _row(sweep: Sweep, run: Run, record: Record, loss: float | None) -> dict[str, Any]:
    """The raw numbers of a run."""
    row: dict[str, Any] = {"sweep": sweep.name, "run_id": run.id, "label": run.label}
    row |= {key: value_at(record, path) for key, path, _, _ in COLUMNS}
    row["noisy"] = "; ".join(record.machine.noisy) if record.machine else None
    if loss is not None:
        point = reach(curve_lines(run.folder.curve, "tokens", "seconds"), loss)
        row |= {"loss": loss, "step_at_loss": point.step if point else None}
        row |= {"seconds_to_loss": point.seconds if point else None, "tokens_to_loss": point.tokens if point else None}
    return row


def _label(run: Run, record: Record, labels: Sequence[str]) -> Cell:
    seed = record.flat_key.get("settings.seed")
    return Cell(run.label if labels.count(run.label) == 1 else f"{run.label}, seed {seed}")


def _marks(record: Record, notes: Notes) -> tuple[str, ...]:
    return notes.mark(f"noisy machine: {'; '.join(record.machine.noisy)}") if record.machine and noisy(record) else ()


def _cells(
    values: pd.Series[Any], size: float, marks: list[tuple[str, ...]], missing: list[str], notes: Notes
) -> list[Cell]:
    """A column's cells; a dash has the note that says why."""
    texts = iter(written("seconds", [float(value) * size for value in values.dropna()])[1])
    return [
        Cell(MISSING, notes.mark(why)) if pd.isna(value) else Cell(next(texts), mark)
        for value, mark, why in zip(values, marks, missing, strict=True)
    ]
