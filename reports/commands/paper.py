"""A published table with ours beside it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness.errors import Parser
from reports.formats.export import TEXTS, exported, tidy_frame
from reports.formats.output import deliver, folder
from reports.formats.render import render
from reports.published.files import Paper, paper_names, read_paper
from reports.published.rates import TITLES, rate_names, rate_tables
from reports.published.tables import paper_tables
from reports.read.runs import Sweep, has_sweep, load_all
from reports.tables._build import noted
from reports.values.table import Table

DESCRIPTION = """\
Show a published table with ours beside it: published value, ours (mean and sample standard deviation over seeds), 95%
interval, difference, and what differs in how the two were made. Without NAME, list the tables.

Ours are the runs of the table's own sweep, as published (+sweep=papers/NAME) and scaled (+sweep=papers/scaled/NAME),
whichever are in the results folder; --sweep names others."""


def parser() -> Parser:
    """The command line."""
    options = Parser(
        prog="python -m reports paper",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("name", nargs="?", metavar="NAME", help="of a published table; default: list them")
    options.add_argument(
        "--results", type=folder, action="append", metavar="FOLDER", help="may be repeated; default: results"
    )
    options.add_argument(
        "--sweep", action="append", default=[], metavar="SWEEP", help="take ours from it; may be repeated"
    )
    options.add_argument(
        "--format", choices=("markdown", "latex", "html", *TEXTS), default="markdown", help="default: %(default)s"
    )
    options.add_argument("--output", type=Path, metavar="FILE", help="write there instead of printing")
    return options


def chosen_sweeps(paper: Paper, results: Sequence[Path], named: Sequence[str]) -> list[Sweep]:
    """The sweeps that ours are of: those named, or those of the paper that have been run. Raises UserError."""
    return load_all(results, named or [name for name in paper.sweeps() if has_sweep(results, name)])


def listed() -> str:
    """The published tables, one a line."""
    titles = {name: read_paper(name).title for name in paper_names()} | {name: TITLES[name] for name in rate_names()}
    width = max(map(len, titles))
    return "".join(f"{name:{width}}  {title}\n" for name, title in sorted(titles.items()))


def _tables(name: str, results: Sequence[Path], named: Sequence[str]) -> list[Table]:
    """The tables of a published one. Raises UserError."""
    if name in rate_names():
        return rate_tables(name, load_all(results, named) if named else [])
    paper = read_paper(name)
    sweeps = chosen_sweeps(paper, results, named)
    return [noted(table, *sweeps) for table in paper_tables(paper, name, sweeps)]


def main(arguments: Sequence[str]) -> int:
    """Print or write the tables. Raises UserError."""
    options = parser().parse_args(arguments)
    if options.name is None:
        text = listed()
    else:
        tables = _tables(options.name, options.results or [Path("results")], options.sweep)
        text = (
            str(exported(tidy_frame(tables), options.format))
            if options.format in TEXTS
            else render(tables, options.format)
        )
    deliver(text, options.output)
    return 0
