"""From rows of runs to a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from reports.read.rows import Group, table_rows
from reports.read.run import Run
from reports.read.runs import Sweep, finite
from reports.statistics.scores import is_positive, over_seeds, title_of
from reports.statistics.verdicts import BEST, STILL, TIED, Comparison, Verdict, is_trained
from reports.values import columns as c
from reports.values.frame import quality_column, quality_columns, why_missing
from reports.values.notes import (
    DAGGER,
    DOUBLE_DAGGER,
    LOW_RANK,
    NOISY,
    TIMINGS,
    Notes,
    absences,
    at_step,
    explanations,
    noisy,
)
from reports.values.protocol import reference_lines
from reports.values.table import MISSING, PLUS_MINUS, Cell, Heading, Table

OVER_SEEDS = "over_seeds"
"""Key of the column of a score's interval over seeds, which the frame, a line a run, has not."""
FIRST = ("verdict", "change", "trainable_parameters", "train_peak_bytes", "train_tokens_per_second")
"""Columns that matter most behind the row, its status and its score."""


def noted(table: Table, *sweeps: Sweep) -> Table:
    """The table, with what is to be said of the sweeps' runs that are recorded more than once."""
    return replace(table, notes=(*table.notes, *(("", remark) for sweep in sweeps for remark in sweep.remarks)))


def build(
    title: str,
    paragraphs: tuple[str, ...],
    shown: tuple[c.Column, ...],
    sweep: Sweep,
    comparison: Comparison,
    frame: pd.DataFrame,
) -> Table:
    """A table of the columns that hold anything, with a note for every mark and every column that is left out.

    The first column names the row; status and seeds come after it where they say anything.
    """
    rows, footnotes = table_rows(sweep), Notes()
    several = any(len(row.runs) > 1 for row in rows)
    status = c.STATUS if (frame["status"] != "ok").any() else ()
    shown = (shown[0], *status, *(c.SEEDS if several else ()), *shown[1:])
    fields = quality_columns(sweep)
    owners = pd.Series({run.id: row.id for row in rows for run in row.runs}).reindex(frame.index)
    headings, cells, absent = [], [], []
    for column in shown:
        if column.key == "seeds":
            headings.append(Heading(column.title, True, column.key))
            cells.append([_seeds(row, footnotes) for row in rows])
            continue
        values = frame[column.key]
        untold = column.key == "change" and any(verdict.unknown for verdict in comparison.verdicts.values())
        if not values.notna().any() and not untold:
            absent.append(column)
            continue
        unit, known = _texts(column, values, owners)
        headings.append(Heading(_heading(column, unit), column.kind != "text", column.key))
        path = column.field or fields.get(column.key)
        cells.append([_cell(row, column, known.get(row.id), path, comparison, footnotes) for row in rows])
        if several and (score := comparison.score) and column.key == quality_column(score):
            of = " of the geometric mean" if is_positive(score) else ""
            headings.append(Heading(f"{title_of(score)} over seeds [95% t interval{of}]", True, OVER_SEEDS))
            cells.append([_seed_interval(row, column, score, footnotes) for row in rows])
    lines = reference_lines(sweep) if comparison.score else []
    lines += explanations(sweep, rows, comparison, [column.key for column in shown])
    lines += absences(sweep, [(column.title, column.field) for column in absent if column.field])
    marked = [*footnotes.marked, *(("", line) for line in lines)]
    first = (shown[0].key, "status", quality_column(comparison.score or ""), *FIRST)
    return Table(title, paragraphs, tuple(headings), tuple(zip(*cells, strict=True)), tuple(marked), frame, first)


def _texts(column: c.Column, values: pd.Series[Any], owners: pd.Series[str]) -> tuple[str, dict[str, str]]:
    """The unit of a column, and by the row's id what is known there: the mean over its runs, with their sample standard
    deviation where they differ."""
    grouped = values.groupby(owners, sort=False)
    if column.kind == "text":
        return "", {str(row): str(text) for row, text in grouped.first().dropna().items()}
    means, spread = grouped.mean().dropna(), grouped.std(ddof=1).fillna(0.0)
    unit, write = c.writer(column.kind, means)
    texts = {str(row): write(float(mean)) for row, mean in means.items()}
    for row, std in spread[spread > 0].items():
        texts[str(row)] += f" {PLUS_MINUS} {write(float(std)).lstrip('+')}"
    return unit, texts


def _seeds(row: Group, footnotes: Notes) -> Cell:
    """How many seeds a row has."""
    if row.runs[0].done is None:
        return Cell(MISSING)
    one = len(row.runs) == 1 and is_trained(row.records[0])
    return Cell(str(len(row.runs)), footnotes.mark("one seed: how far training spreads is not known") if one else ())


def _seed_interval(row: Group, column: c.Column, score: str, footnotes: Notes) -> Cell:
    """The interval of the mean over seeds."""
    known = [value for record in row.records if (value := finite(record.quality.get(score))) is not None]
    summary = over_seeds(score, known) if known else None
    if summary is None or summary.interval is None:
        return Cell(MISSING)
    low, high = c.written(column.kind, [summary.interval.low, summary.interval.high])[1]
    if summary.how == "range":
        return Cell(f"[{low}, {high}]", footnotes.mark("the range of the seeds: two tell of no interval above 0"))
    return Cell(f"[{low}, {high}]")


def _heading(column: c.Column, unit: str) -> str:
    """Title and unit."""
    named = unit or column.unit
    return f"{column.title} [{named}]" if named else column.title


def _cell(
    row: Group, column: c.Column, text: str | None, path: str | None, comparison: Comparison, footnotes: Notes
) -> Cell:
    """A known value with its marks, or a dash with the note that says why."""
    run = row.runs[0]
    verdict = comparison.verdicts.get(run.id, Verdict())
    if column.key == "status":
        return _status(run)
    if column.key == "change" and verdict.change is not None and run.done:
        if verdict.interval is None:
            return Cell(text or "", footnotes.mark(f"interval not known: {verdict.unknown}"))
        low, high = c.written(column.kind, [verdict.interval.low, verdict.interval.high])[1]
        return Cell(f"{c.written(column.kind, [verdict.change])[1][0]} [{low}, {high}]")
    if text is not None or column.key == "verdict":
        best = verdict.word in (BEST, TIED) and column.key == quality_column(comparison.score or "")
        return Cell(text or "", _marks(row, column, verdict, comparison, footnotes), best)
    if run.done is None:
        return Cell(MISSING)
    if column.key == "change":
        return Cell(MISSING, footnotes.mark(verdict.unknown) if verdict.unknown else ())
    return Cell(MISSING, footnotes.mark(why_missing(run.done, path)) if path else ())


def _status(run: Run) -> Cell:
    """How a run ended, with the cause."""
    if run.record and run.record.cause:
        return Cell(f"{run.status}{at_step(run.record)}: {run.record.cause}")
    return Cell(f"{run.status}: {run.problem}" if run.problem else run.status)


def _marks(row: Group, column: c.Column, verdict: Verdict, comparison: Comparison, footnotes: Notes) -> tuple[str, ...]:
    """What notes explain of a known value."""
    if column.key == quality_column(comparison.score or "") and verdict.word == STILL:
        return (DAGGER,)
    if column.key in TIMINGS:
        disturbed = column.key == "train_tokens_per_second" and any(noisy(record) for record in row.records)
        return (*((DOUBLE_DAGGER,) if comparison.hardware else ()), *(footnotes.mark(NOISY) if disturbed else ()))
    if column.key in ("label", "rank") and row.runs[0].record:
        high = [warning for warning in row.runs[0].record.warnings if LOW_RANK in warning]
        return tuple(mark for warning in high for mark in footnotes.mark(f"not low-rank: {warning}"))
    return ()
