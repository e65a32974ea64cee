"""Published tables as data: reports/papers/NAME.yaml, one file a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from harness.errors import UserError, nearest

FOLDER = Path(__file__).parents[1] / "papers"

UNKNOWN = "not known"
"""A value of a protocol that the paper does not give, or that was not checked."""

Printed = bool | int | float | str | None
"""A cell as the paper prints it; None: it prints none."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Score(_Part):
    """A column of scores."""

    ours: str
    """Name of the score in a record."""
    factor: float = 1.0
    """Published value times this is in the record's unit."""
    std: str | None = None
    """Column of its published standard deviation."""
    by: str | None = None
    """What computed the published score, where it is not the table's scorer."""


class Formula(_Part):
    """What a printed quantity follows from, or should."""

    formula: str
    """Arithmetic on numbers, such as `24*2*2*1024*4`."""
    unit: str

    @property
    def value(self) -> float:
        """What it comes to."""
        import pandas as pd

        return float(pd.eval(self.formula, engine="python"))  # type: ignore[arg-type]


class Row(_Part):
    """A published row and which run of ours is its counterpart."""

    values: tuple[Printed, ...]
    """A cell for each of the table's columns."""
    match: dict[str, Any] | None = None
    """Fields of a record's key (without `settings.`) and their values, besides those of the table."""
    no_counterpart: str | None = None
    """Why there is no such run."""
    note: str | None = None
    """How the counterpart differs from what was published, in words."""
    protocol: dict[str, Any] | None = None
    """In place of the table's."""
    formulas: dict[str, Formula] = {}
    """By column."""

    @model_validator(mode="after")
    def _one_way(self) -> Row:
        if (self.match is None) == (self.no_counterpart is None):
            raise ValueError("give match or no_counterpart")
        return self


class Paper(_Part):
    """A published table. What it holds of the paper is as printed."""

    title: str
    """In a line."""
    paper: str
    arxiv: str
    table: str
    model: str
    dataset: str
    provenance: str
    """How the figures were checked."""
    second_hand: bool = False
    """They were not checked in the paper itself."""
    notes: tuple[str, ...] = ()
    """On how the table came about."""
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    sweep: str | None = None
    """The sweep that makes ours as published; `papers/scaled/…` makes it scaled."""
    data: str = ""
    """What the command of the sweep has to be told besides."""
    scores: dict[str, Score] = {}
    """By column. A name that is no column is a score of ours that the paper does not have; a column of figures that is
    not here has no counterpart, and says what a row is."""
    quantities: dict[str, str | None] = {}
    """Counts and bytes, columns or not -> field of a record that holds ours; None: no record does."""
    match: dict[str, Any] = {}
    """What every counterpart has in its key."""
    protocol: dict[str, Any] = {}
    """How the published figures were made: fields of a record's key, `test_examples`, `seeds`."""
    scorer: str = UNKNOWN
    """What computed the published scores."""

    @model_validator(mode="after")
    def _fits(self) -> Paper:
        uneven = [row.values for row in self.rows if len(row.values) != len(self.columns)]
        named = {s.std for s in self.scores.values() if s.std} | {name for row in self.rows for name in row.formulas}
        if uneven or named - set(self.columns):
            raise ValueError(f"rows of another width: {uneven}; no such columns: {sorted(named - set(self.columns))}")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns that say what a row is."""
        figures = {name for column, score in self.scores.items() for name in (column, score.std)}
        return tuple(name for name in self.columns if name not in figures)

    def printed(self, row: Row, column: str | None) -> Printed:
        """A cell, None where there is no such column."""
        return row.values[self.columns.index(column)] if column in self.columns else None

    def published(self, row: Row, name: str) -> float | None:
        """A published score in the unit of our records."""
        value = self.printed(row, name)
        assert value is None or isinstance(value, (int, float)), (self.title, name, value)
        return None if value is None else value * self.scores[name].factor

    def sweeps(self) -> tuple[str, ...]:
        """Names of the sweeps that make ours: as published, and scaled."""
        return (self.sweep, self.sweep.replace("papers/", "papers/scaled/")) if self.sweep else ()


def paper_names(folder: Path = FOLDER) -> list[str]:
    """The published tables that there are."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_paper(name: str, folder: Path = FOLDER) -> Paper:
    """A published table. Raises UserError with the nearest name where there is none."""
    if name not in (known := paper_names(folder)):
        raise UserError(f"paper {name}: no such table; {nearest(name, known)}")
    return Paper.model_validate(yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8")))
