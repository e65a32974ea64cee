"""Tables as headings, cells and notes, whatever the format they are printed in."""

from __future__ import annotations

import pandas as pd

from reports.read.runs import Sweep
from reports.statistics.verdicts import Comparison
from reports.tables._build import build
from reports.values import columns as c
from reports.values.asked import Asked
from reports.values.frame import quality_columns, tidy
from reports.values.protocol import protocol
from reports.values.table import Cell, Heading, Table


def tables(asked: Asked) -> list[Table]:
    """`--table methods`. Raises UserError where the sweep has none."""
    return [methods_table(asked.sweep, asked.comparison, bool(asked.options.get("columns")))]


def methods_table(sweep: Sweep, comparison: Comparison, all_columns: bool = False) -> Table:
    """Every row of a sweep: what it cost, what it learned, what it forgot. `all_columns`: also those that are
    shown only where they are asked for."""
    frame = tidy(sweep, comparison)
    cost = (*c.PARAMETERS, *c.DISK, *c.memory_columns(frame), *c.SPEED)
    scores = (*c.score_columns(quality_columns(sweep)), *c.change_columns(comparison, frame), *c.VERDICT)
    optimizer = c.OPTIMIZER if frame["optimizer"].nunique() > 1 else ()
    otherwise: tuple[c.Column, ...] = c.TYPOS if frame["typos_score"].notna().any() else ()
    otherwise += c.PARAPHRASES if frame["paraphrases_agreement"].notna().any() else ()
    otherwise += c.BITS_PER_BYTE if all_columns else ()
    shown = (*c.LABEL, *c.LEARNING_RATE, *optimizer, *cost, *scores, *otherwise, *c.ENDED, *c.FORGETTING, *c.SECONDS)
    counts = ", ".join(f"{number} {name}" for name, number in sweep.count().items())
    runs = f"{len(sweep.runs)} run{'s' if len(sweep.runs) != 1 else ''}: {counts}."
    return build(f"{sweep.name}: methods", (sweep.question, runs, protocol(sweep)), shown, sweep, comparison, frame)


def sweeps_table(sweeps: list[Sweep]) -> Table:
    """The sweeps of a results folder: question, and how many runs are done, failed and missing."""
    frame = pd.DataFrame([{"sweep": s.name, "question": s.question, **s.count()} for s in sweeps])
    headings = tuple(Heading(name, name in ("done", "failed", "missing")) for name in frame.columns)
    rows = tuple(tuple(Cell(str(value)) for value in row) for row in frame.itertuples(index=False))
    return Table("Sweeps", (), headings, rows, (), frame)
