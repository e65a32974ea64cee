"""Tables as headings, cells and notes, whatever the format they are printed in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.errors import UserError
from reports import columns as c
from reports.compare import STILL, Comparison
from reports.frame import quality_columns, tidy, why_missing
from reports.groups import flatten, without
from reports.notes import DAGGER, Notes, absences, at_step, explanations
from reports.protocol import protocol, reference_lines
from reports.read import Run, Sweep

MISSING = "\N{EM DASH}"
LEAST_RANKS = 3
"""Rows that make a table of ranks."""


@dataclass(frozen=True)
class Heading:
    """The head of a column; `numeric` columns are set flush right."""

    text: str
    numeric: bool


@dataclass(frozen=True)
class Cell:
    """What a cell says and the marks that notes explain."""

    text: str
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table of any format."""

    title: str
    paragraphs: tuple[str, ...]
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[tuple[str, str], ...]
    """(mark, text); the mark is empty where the note is about the whole table."""
    frame: pd.DataFrame
    """The same rows as raw numbers."""


def methods_table(sweep: Sweep, comparison: Comparison) -> Table:
    """Every run of a sweep: what it cost, what it learned, what it forgot."""
    frame = tidy(sweep, comparison)
    cost = (*c.PARAMETERS, *c.DISK, *c.memory_columns(frame), *c.SPEED)
    scores = (*c.score_columns(quality_columns(sweep)), *c.CHANGE, *c.VERDICT)
    status = c.STATUS if (frame["status"] != "ok").any() else ()
    optimizer = c.OPTIMIZER if frame["optimizer"].nunique() > 1 else ()
    otherwise: tuple[c.Column, ...] = c.TYPOS if frame["typos_score"].notna().any() else ()
    otherwise += c.PARAPHRASES if frame["paraphrases_agreement"].notna().any() else ()
    shown = (*c.LABEL, *status, *c.LEARNING_RATE, *optimizer, *cost, *scores, *otherwise, *c.FORGETTING, *c.SECONDS)
    counts = ", ".join(f"{number} {name}" for name, number in sweep.count().items())
    runs = f"{len(sweep.runs)} run{'s' if len(sweep.runs) != 1 else ''}: {counts}."
    return _build(f"{sweep.name}: methods", (sweep.question, runs, protocol(sweep)), shown, sweep, comparison, frame)


def rank_tables(sweep: Sweep, comparison: Comparison) -> list[Table]:
    """A table for each set of at least three rows that differ only in rank."""
    tables = []
    for runs in rank_groups(sweep):
        part = Sweep(sweep.name, sweep.question, runs)
        frame = tidy(part, comparison)
        status = c.STATUS if (frame["status"] != "ok").any() else ()
        scores = c.score_columns(quality_columns(part))
        shown = (*c.RANK, *status, c.PARAMETERS[0], *scores, *c.CHANGE)
        about = f"Rows that differ only in rank{_alpha(runs)}: {', '.join(run.label for run in runs)}."
        tables.append(_build(f"{sweep.name}: rank", (about,), shown, part, comparison, frame))
    return tables


def rank_groups(sweep: Sweep) -> list[tuple[Run, ...]]:
    """Sets of recorded rows, of three or more ranks, whose keys are equal but for the rank.

    An `alpha` that is the same multiple of the rank in every row follows from the rank and does not tell rows apart.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in sweep.runs:
        flat = flatten(run.record.key) if run.record else {}
        if isinstance(rank := flat.get("settings.method.rank"), int) and rank > 0:
            for scaling in _scalings(flat.get("settings.method.alpha"), rank):
                rest = without(flat, ("settings.method.rank", "settings.method.alpha")) | scaling
                groups[repr(sorted(rest.items(), key=lambda item: item[0]))].append(run)
    found = [tuple(runs) for runs in groups.values() if len({_rank(run) for run in runs}) >= LEAST_RANKS]
    return list({tuple(run.id for run in runs): runs for runs in found}.values())


def _scalings(alpha: Any, rank: int) -> list[dict[str, Any]]:
    """The two ways in which rows can agree on alpha: its value, and its ratio to the rank."""
    if not isinstance(alpha, (int, float)):
        return [{"alpha": alpha}]
    return [{"alpha": alpha}, {"alpha over rank": alpha / rank}]


def _rank(run: Run) -> Any:
    """The rank in a run's key."""
    return flatten(run.record.key).get("settings.method.rank") if run.record else None


def _alpha(runs: tuple[Run, ...]) -> str:
    """What to say of alpha where it grows with the rank."""
    alphas = {flatten(run.record.key).get("settings.method.alpha") for run in runs if run.record}
    return " (alpha in proportion to it)" if len(alphas) > 1 else ""


def sweeps_table(sweeps: list[Sweep]) -> Table:
    """The sweeps of a results folder: question, and how many runs are done, failed and missing."""
    frame = pd.DataFrame([{"sweep": s.name, "question": s.question, **s.count()} for s in sweeps])
    headings = tuple(Heading(name, name in ("done", "failed", "missing")) for name in frame.columns)
    rows = tuple(tuple(Cell(str(value)) for value in row) for row in frame.itertuples(index=False))
    return Table("Sweeps", (), headings, rows, (), frame)


def tables_of(sweep: Sweep, comparison: Comparison, which: str) -> list[Table]:
    """The tables that `--table` names. `auto`: methods, and ranks where there are any. Raises UserError."""
    ranks = rank_tables(sweep, comparison) if which != "methods" else []
    if which == "rank" and not ranks:
        least = f"fewer than {LEAST_RANKS} recorded rows that differ only in settings.method.rank"
        raise UserError(f"{sweep.name}: no table of ranks, since it has {least}; use --table methods")
    return ([methods_table(sweep, comparison)] if which != "rank" else []) + ranks


def _build(
    title: str,
    paragraphs: tuple[str, ...],
    shown: tuple[c.Column, ...],
    sweep: Sweep,
    comparison: Comparison,
    frame: pd.DataFrame,
) -> Table:
    """A table of the columns that hold anything, with a note for every mark and every column that is left out."""
    footnotes = Notes()
    fields = quality_columns(sweep)
    headings, cells, absent = [], [], []
    for column in shown:
        values = frame[column.key]
        untold = column.key == "bleu_change" and any(verdict.unknown for verdict in comparison.verdicts.values())
        if not values.notna().any() and not untold:
            absent.append(column)
            continue
        unit, texts = ("", list(values.dropna())) if column.kind == "text" else c.written(column.kind, values.dropna())
        known = dict(zip(values.dropna().index, texts, strict=True))
        headings.append(Heading(_heading(column, unit), column.kind != "text"))
        path = column.field or fields.get(column.key)
        cells.append([_cell(run, column, known.get(run.id), path, comparison, footnotes) for run in sweep.runs])
    lines = reference_lines(sweep) + explanations(sweep, comparison, [column.key for column in shown])
    lines += absences(sweep, [(column.title, column.field) for column in absent if column.field])
    marked = [*footnotes.marked, *(("", line) for line in lines)]
    rows = tuple(zip(*cells, strict=True))
    return Table(title, paragraphs, tuple(headings), rows, tuple(marked), frame)


def _heading(column: c.Column, unit: str) -> str:
    """Title and unit."""
    named = unit or column.unit
    return f"{column.title} [{named}]" if named else column.title


def _cell(
    run: Run, column: c.Column, text: str | None, path: str | None, comparison: Comparison, footnotes: Notes
) -> Cell:
    """A known value with its marks, or a dash with the note that says why."""
    verdict = comparison.verdicts.get(run.id)
    if column.key == "status" and run.record and run.record.cause:
        return Cell(f"{text}{at_step(run.record)}: {run.record.cause}")
    if column.key == "status" and run.problem:
        return Cell(f"{text}: {run.problem}")
    if column.key == "bleu_change" and text and verdict:
        if verdict.interval is None:
            return Cell(text, footnotes.mark(f"interval not known: {verdict.unknown}"))
        low, high = c.written("points", pd.Series([verdict.interval.low, verdict.interval.high]))[1]
        return Cell(f"{text} [{low}, {high}]")
    if column.key == "bleu" and text and verdict and verdict.word == STILL:
        return Cell(text, (DAGGER,))
    if text is not None or column.key == "verdict":
        return Cell(text or "")
    if run.done is None:
        return Cell(MISSING)
    if column.key == "bleu_change":
        return Cell(MISSING, footnotes.mark(verdict.unknown) if verdict and verdict.unknown else ())
    return Cell(MISSING, footnotes.mark(why_missing(run.done, path)) if path else ())
