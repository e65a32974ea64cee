"""A table as its formats show it: headings, cells, notes."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

MISSING = "\N{EM DASH}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"


@dataclass(frozen=True)
class Heading:
    """The head of a column; `numeric` columns are set flush right."""

    text: str
    numeric: bool
    key: str = ""
    """Of the frame's column that it shows, where it shows one."""


@dataclass(frozen=True)
class Cell:
    """What a cell says and the marks that notes explain."""

    text: str
    marks: tuple[str, ...] = ()
    best: bool = False
    """The score of a row that is the best, or that nothing tells from it."""


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
    """The same as raw numbers, a line a run."""
    first: tuple[str, ...] = ()
    """Keys of the columns that matter most, in their order, where there is not room for all."""
