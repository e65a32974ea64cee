"""A table of the score by learning rate, of rows that differ only in it: whether each row's own best was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import pandas as pd

from harness.errors import UserError
from reports.read.rows import Group, rate, rate_sets, table_rows
from reports.read.runs import Sweep, UnusablePredictions, finite
from reports.statistics.intervals import Interval, seed_summary
from reports.statistics.paired import interval
from reports.statistics.scores import title_of
from reports.statistics.verdicts import Comparison
from reports.values import columns as c
from reports.values.asked import Asked
from reports.values.notes import some
from reports.values.table import MISSING, PLUS_MINUS, Cell, Heading, Table

STAR = "*"
EDGE = "at the edge of its grid"


def tables(asked: Asked) -> list[Table]:
    """`--table lr`. Raises UserError where the sweep has none."""
    return [rates_table(asked.sweep, asked.comparison)]


def rates_table(sweep: Sweep, comparison: Comparison) -> Table:
    """The main score at each learning rate. Raises UserError where no rows differ only in it."""
    sets = [rows for rows in rate_sets(table_rows(sweep)) if len({rate(row) for row in rows}) > 1]
    score = comparison.score
    if not sets or score is None:
        raise UserError(
            f"{sweep.name}: no rows differ only in the learning rate; run several, as in method.lr=1e-4,3e-4,1e-3"
        )
    frame = pd.DataFrame([line for rows in sets for line in _lines(sweep.name, rows, comparison)])
    rates = sorted(set(frame["learning_rate"]))
    loss = score == "val_loss"
    _, write = c.writer("loss" if loss else "score", frame["mean"].dropna())
    headings = [Heading("row", False), *(Heading(f"lr {each:g}", True) for each in rates), Heading("best lr", True)]
    cells = []
    for _, lines in frame.groupby("set", sort=False):
        by_rate: dict[float, Any] = {line.learning_rate: line for line in lines.itertuples()}  # type: ignore[misc]
        best = [rate for rate, line in by_rate.items() if line.best]
        edge = any(by_rate[rate].edge for rate in best)
        best_rates = f"{' and '.join(f'{rate:g}' for rate in best)}{f', {EDGE}' if edge else ''}" if best else MISSING
        cells.append(
            (Cell(str(lines["row"].iloc[0])), *(_cell(by_rate.get(each), write) for each in rates), Cell(best_rates))
        )
    title = title_of(score)
    notes = [(STAR, "the row's best rate: that of the lowest validation loss. Test examples choose nothing.")]
    if frame["low"].notna().any():
        notes.append(
            ("", f"In brackets the 95% interval of {title} over test examples, and over seeds where a row has several.")
        )
    if frame["edge"].any():
        notes.append(("", f"{EDGE}: the best learning rate may lie beyond those that were run; widen the grid there."))
    verdicts = comparison.verdicts
    idle = [rows[0].label for rows in sets if all(row.id in verdicts and verdicts[row.id].below for row in rows)]
    if idle:
        notes.append(("", f"{some(idle)}: no rate is above what needs no model, so that none is known to be any good."))
    about = f"{title} by learning rate, of rows that differ in nothing else but seeds."
    return Table(f"{sweep.name}: learning rates", (about,), tuple(headings), tuple(cells), tuple(notes), frame)


def _lines(name: str, rows: tuple[Group, ...], comparison: Comparison) -> list[dict[str, object]]:
    """A line for each learning rate of a row."""
    score = comparison.score or ""
    known = {row.id: [finite(record.quality.get(score)) for record in row.records] for row in rows}
    means = {row: fmean(v for v in values if v is not None) for row, values in known.items() if None not in values}
    best = chosen(rows)
    lines: list[dict[str, object]] = []
    for row in rows:
        interval = _interval(row, score)
        summary = seed_summary([v for v in known[row.id] if v is not None]) if row.id in means else None
        lines.append(
            {
                "sweep": name,
                "set": rows[0].id,
                "row": row.label,
                "score": score,
                "learning_rate": rate(row),
                "seeds": len(row.runs),
                "mean": summary.mean if summary else None,
                "std": summary.std if summary else None,
                "low": interval.low if interval else None,
                "high": interval.high if interval else None,
                "best": row.id in best,
                "edge": best == {row.id} and rate(row) in (rate(rows[0]), rate(rows[-1])),
            }
        )
    return lines


def chosen(rows: Sequence[Group]) -> set[str]:
    """Ids of the rows of the lowest validation loss, the mean over seeds, of rows that differ in the learning rate."""
    losses = {row.id: [finite(record.quality.get("val_loss")) for record in row.records] for row in rows}
    means = {row: fmean(v for v in each if v is not None) for row, each in losses.items() if None not in each}
    return {row for row, mean in means.items() if mean == min(means.values())}


def _interval(row: Group, score: str) -> Interval | None:
    """Of the score, where examples are stored."""
    try:
        return interval(row.runs, score)
    except UnusablePredictions:
        return None


def _cell(line: Any, write: Callable[[float], str]) -> Cell:
    """Mean, spread over seeds and interval."""
    if line is None or pd.isna(line.mean):
        return Cell(MISSING)
    text = write(line.mean)
    if line.seeds > 1:
        text += f" {PLUS_MINUS} {write(line.std)}"
    if not pd.isna(line.low):
        text += f" [{write(line.low)}, {write(line.high)}]"
    return Cell(text, (STAR,) if line.best else ())
