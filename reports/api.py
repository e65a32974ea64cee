"""What may be used from Python, with `harness.api`: results as data frames, tables as texts. See docs/python.md.

Everything else may change from one version to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from harness.errors import UserError
from reports.commands.table import report, tables_for
from reports.formats.columns import chosen_raw
from reports.read.runs import sweep_names

__all__ = ["UserError", "frame", "sweeps", "table"]

Results = str | Path | Sequence[str | Path]
"""A results folder, a folder of several, or a list of those."""


def sweeps(results: Results = "results") -> list[str]:
    """The names of the sweeps in results folders. Raises UserError where there is none."""
    return sweep_names(_paths(results))


def frame(sweep: str, results: Results = "results", columns: Sequence[str] = ()) -> pd.DataFrame:
    """The runs of a sweep, one a line, unrounded: settings, costs, scores, what was forgotten, and the verdict.
    `columns`: these alone, by their keys or as tables head them. Raises UserError."""
    return chosen_raw(tables_for(_paths(results), [sweep], "methods"), columns)


def table(
    sweep: str,
    results: Results = "results",
    form: str = "markdown",
    which: str = "auto",
    columns: Sequence[str] = (),
    score: str | None = None,
) -> str:
    """A sweep's table as `python -m reports` prints it. `form`: its `--format`, but for parquet; `which`: its
    `--table`; `score`: what rows are compared by. Raises UserError."""
    return report(_paths(results), [sweep], form, which, columns=columns, score=score)


def _paths(results: Results) -> list[Path]:
    return [Path(results)] if isinstance(results, str | Path) else [Path(each) for each in results]
