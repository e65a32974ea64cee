"""A table that fits a terminal: the columns that matter most, as many as there is room for."""

from __future__ import annotations

import io
import textwrap

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from reports.values.table import Cell, Table

GAP = 2
"""Characters from a column to the next."""
WRAPPED = 14
"""Characters that a column of words needs at most: its cells go on in the next line."""


def to_terminal(table: Table, width: int) -> str:
    """Its title, its question, as many columns as fit `width` characters, the notes of their marks, and which columns
    are left out."""
    widths = _widths(table, width)
    grid = Grid(box=SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for place, wide in widths.items():
        heading = table.headings[place]
        grid.add_column(Text(heading.text), justify="right" if heading.numeric else "left", width=wide, overflow="fold")
    for row in table.rows:
        grid.add_row(*(Text(_text(row[place])) for place in widths))
    console = Console(width=width, color_system=None, file=io.StringIO(), record=True)
    console.print(grid)
    marks = {mark for row in table.rows for place in widths for mark in row[place].marks}
    notes = [f"{_mark(mark)} {text}" for mark, text in table.notes if mark in marks]
    if left := [heading.text for place, heading in enumerate(table.headings) if place not in widths]:
        notes.append(f"{len(left)} column{'s' * (len(left) > 1)} left out (--columns): {', '.join(left)}")
    lines = [textwrap.fill(text, width) for text in (table.title, *table.paragraphs[:1]) if text]
    lines += [
        "",
        *(line.rstrip() for line in console.export_text().splitlines()),
        "",
        *(textwrap.fill(note, width) for note in notes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _widths(table: Table, width: int) -> dict[int, int]:
    """Places of the columns that fit, the ones that matter most chosen first, in the table's order; and how wide each
    is."""
    keys = [heading.key for heading in table.headings]
    first = list(dict.fromkeys(keys.index(key) for key in table.first if key in keys))
    room, chosen = width, dict[int, int]()
    for place in [*first, *(i for i in range(len(keys)) if i not in first)]:
        need = _least(table, place)
        taken = need + (GAP if chosen else 0)
        if taken <= room or not chosen:
            chosen[place] = need
            room -= taken
        elif place not in first:  # what matters less is cut where it is too wide, and not picked from
            break
    for place in sorted(chosen):
        more = max(0, min(room, _longest(table, place) - chosen[place]))
        chosen[place] += more
        room -= more
    return dict(sorted(chosen.items()))


def _least(table: Table, place: int) -> int:
    """Characters that a column needs: the longest word of its heading, and its cells, which may be several lines where
    they are words."""
    words = [*table.headings[place].text.split()]
    longest = _longest(table, place)
    if place and not table.headings[place].numeric:
        longest = min(longest, WRAPPED)
        words += [word for row in table.rows for word in _text(row[place]).split()]
    return max([longest, 1, *map(len, words)])


def _longest(table: Table, place: int) -> int:
    """Characters of its longest cell."""
    return max((len(_text(row[place])) for row in table.rows), default=0)


def _text(cell: Cell) -> str:
    """The text, then its marks."""
    return " ".join((cell.text, *map(_mark, cell.marks)))


def _mark(mark: str) -> str:
    """A mark; the number of a note in brackets."""
    return f"[{mark}]" if mark.isdigit() else mark
