"""Some columns of tables, in the order in which they are asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from harness.errors import UserError, nearest
from reports.formats.export import tidy_frame
from reports.values.table import Heading, Table


def names_of(heading: Heading) -> set[str]:
    """What a column may be called: its key, its title, and that without a unit, in any case."""
    title = re.sub(r" \[[^]]*\]$", "", heading.text)
    return {name.lower() for name in (heading.key, heading.text, title) if name}


def chosen(tables: list[Table], columns: Sequence[str]) -> list[Table]:
    """The tables with these columns alone: those that have all of them; where none has, each as far as it has some.
    Raises UserError for one that no table has."""
    if not columns:
        return tables
    known = [set().union(*map(names_of, table.headings)) for table in tables]
    _refuse_unknown(columns, set().union(*known))
    whole = [all(name.lower() in names for name in columns) for names in known]
    narrowed = []
    for table in (table for table, has in zip(tables, whole, strict=True) if has or not any(whole)):
        places = [i for name in columns for i, each in enumerate(table.headings) if name.lower() in names_of(each)]
        if places := list(dict.fromkeys(places)):
            rows = tuple(tuple(row[i] for i in places) for row in table.rows)
            marks = {mark for row in rows for cell in row for mark in cell.marks}
            notes = tuple((mark, text) for mark, text in table.notes if not mark or mark in marks)
            headings = tuple(table.headings[i] for i in places)
            narrowed.append(replace(table, headings=headings, rows=rows, notes=notes))
    return narrowed


def chosen_raw(tables: list[Table], columns: Sequence[str]) -> pd.DataFrame:
    """The raw numbers of the tables, these columns alone where any are named. Raises UserError for one that they have
    not."""
    frame = tidy_frame(tables)
    if not columns:
        return frame
    lower = {str(name).lower(): name for name in frame.columns}
    for table in tables:
        lower |= {name: each.key for each in table.headings if each.key in frame for name in names_of(each)}
    _refuse_unknown(columns, set(lower))
    return frame[list(dict.fromkeys(lower[name.lower()] for name in columns))]


def _refuse_unknown(columns: Sequence[str], known: set[str]) -> None:
    """Raise UserError for the names that are not known."""
    if unknown := [name for name in columns if name.lower() not in known]:
        raise UserError(
            *(f"--columns {name}: there is no such column; {nearest(name, sorted(known))}" for name in unknown)
        )
