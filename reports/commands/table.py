"""The tables of sweeps, where no other command is named."""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import Unpack

from harness.errors import Parser, UserError
from harness.files import write_atomically
from reports.formats.columns import chosen, chosen_raw
from reports.formats.export import FORMATS, exported
from reports.formats.output import deliver, folder, write
from reports.formats.render import render
from reports.formats.terminal import to_terminal
from reports.read.runs import listed, load_all, sweep_names
from reports.tables._build import noted
from reports.tables.methods import sweeps_table
from reports.values.asked import Asked, Options
from reports.values.table import Table

DESCRIPTION = """\
Turn the records of a sweep into tables. Without SWEEP, list the sweeps in the results folder.

Rows are ranked only where they differ in nothing but what the table is about, and only as far as a paired bootstrap
over the test examples tells them apart. Rows that failed or have not been run are shown as such."""

TERMINAL = "terminal"

COMMANDS = Path(__file__).parent
"""A file there is a command: `main(arguments)` is what it does, the first line of its docstring what the help says."""

TABLES = sorted(path.stem for path in (COMMANDS.parent / "tables").glob("[!_]*.py"))
"""A file there is a choice of `--table`: its `tables(asked)`."""

EXAMPLES = """\
examples:
  python -m reports                                        which sweeps there are
  python -m reports methods                                its tables, as Markdown
  python -m reports methods --table storage                bytes of one base with N adapters, of N full copies
  python -m reports methods --format latex --output t.tex  for a paper (booktabs)
  python -m reports methods ranks --format csv             raw numbers, one line a run
  python -m reports methods --score rougeL                 ranked by another score
  python -m reports methods --allow settings.train.steps   ranked though the rows differ in their steps"""


def parser() -> Parser:
    """The command line."""
    options = Parser(
        prog="python -m reports",
        description=DESCRIPTION,
        epilog=f"{EXAMPLES}\n\nother commands (each has its --help):\n{command_lines()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("sweeps", nargs="*", metavar="SWEEP", help="name of a sweep in the results folder")
    options.add_argument(
        "--results",
        type=folder,
        action="append",
        metavar="FOLDER",
        help="default: results; given again, the runs of several machines are put together",
    )
    options.add_argument(
        "--format",
        choices=(TERMINAL, "markdown", "latex", "tabular", "html", *FORMATS),
        help="terminal: the columns that fit it (default on one); markdown (default elsewhere); latex: a float with "
        "booktabs; tabular: that alone, to \\input; html: a page; csv, json, parquet: raw numbers, a line a run",
    )
    options.add_argument(
        "--columns",
        metavar="NAME,…",
        type=lambda text: tuple(filter(None, (name.strip() for name in text.split(",")))),
        default=(),
        help="show these alone, by their headings or, as in csv, their keys, such as label,bleu,verdict",
    )
    options.add_argument(
        "--table",
        choices=(*TABLES, "auto"),
        default="auto",
        help="auto (default): methods, tuned where rows were, rank where three rows differ only in rank, lr where rows "
        "differ only in the learning rate; memory: planned and counted, by owner; speed: steps, shares, FLOPs; "
        "inference: latency; storage: bytes of many tasks; seeds: agreement of rows that differ only in the seed",
    )
    options.add_argument(
        "--score", metavar="NAME", help="what rows are compared by (default: accuracy, bleu or the first)"
    )
    options.add_argument(
        "--allow",
        metavar="FIELD,…",
        type=lambda text: tuple(filter(None, text.split(","))),
        default=(),
        help="rank rows though they differ in these fields of their keys, such as settings.train.steps",
    )
    options.add_argument(
        "--reach",
        type=float,
        metavar="LOSS",
        help="with --table speed: seconds and tokens until the validation loss was at most this",
    )
    options.add_argument("--output", type=Path, metavar="FILE", help="write there instead of printing")
    return options


def commands() -> list[Path]:
    """The files of the other commands, by name."""
    return sorted(path for path in COMMANDS.glob("[!_]*.py") if path.name != Path(__file__).name)


def command_lines() -> str:
    """A line for each of them, for the help; nothing of them is imported."""
    docs = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in commands()}
    return "\n".join(f"  python -m reports {name:<12}{text.partition(chr(10))[0]}" for name, text in docs.items())


def report(
    results: Path | Sequence[Path], names: Sequence[str], form: str, which: str, **options: Unpack[Options]
) -> str:
    """The text of the report, in any format but Parquet. Raises UserError."""
    columns = options.get("columns", ())
    if form in FORMATS:
        raw = tables_for(results, names, "methods" if which == "auto" else which, **options)
        return str(exported(chosen_raw(raw, columns), form))
    tables = chosen(tables_for(results, names, which, **options), columns)
    if form == TERMINAL:
        width = get_terminal_size().columns
        return "\n".join(to_terminal(table, width) for table in tables)
    return render(tables, form)


def tables_for(
    results: Path | Sequence[Path], names: Sequence[str], which: str, **options: Unpack[Options]
) -> list[Table]:
    """The tables of the report. Raises UserError."""
    reach = options.get("reach")
    if reach is not None and (which != "speed" or not math.isfinite(reach)):
        raise UserError(f"--reach {reach}: needs --table speed and a loss such as 1.7")
    if not names:
        return [sweeps_table(load_all(results, sweep_names(results)))]
    sweeps = load_all(results, names)
    if empty := [
        f"{sweep.name}: none of its {len(sweep.runs)} runs has a readable record in {listed(results)}; "
        f"run it (python -m harness +sweep={sweep.name})"
        for sweep in sweeps
        if not sweep.recorded
    ]:
        raise UserError(*empty)
    return [noted(table, sweep) for sweep in sweeps for table in tables_of(Asked(sweep, options), which)]


def tables_of(asked: Asked, which: str) -> list[Table]:
    """The tables that `--table` names. `auto`: methods, and what tuning did, ranks and learning rates where there are
    any. Raises UserError."""

    def tables(name: str) -> list[Table]:
        return list(importlib.import_module(f"reports.tables.{name}").tables(asked))

    if which != "auto":
        return tables(which)
    shown = tables("methods")
    for name in ("tuned", "rank", "lr"):
        with contextlib.suppress(UserError):  # the sweep has none
            shown += tables(name)
    return shown


def main(arguments: Sequence[str]) -> int:
    """Print or write the tables. Raises UserError."""
    asked = parser().parse_args(arguments)
    results = asked.results or [Path("results")]
    on_terminal = asked.output is None and sys.stdout is not None and sys.stdout.isatty()
    form = asked.format or (TERMINAL if on_terminal else "markdown")
    options: Options = {"score": asked.score, "allow": asked.allow, "reach": asked.reach, "columns": asked.columns}
    if form != "parquet":
        deliver(report(results, asked.sweeps, form, asked.table, **options), asked.output)
        if form == TERMINAL and asked.format is None and asked.sweeps:
            _keep_whole(results, asked.sweeps, asked.table, options)
    elif asked.output is None:
        raise UserError("--format parquet: is no text; name a file with --output")
    else:
        raw = tables_for(results, asked.sweeps, asked.table, **options)
        write(asked.output, exported(chosen_raw(raw, asked.columns), form))
    return 0


def _keep_whole(results: Sequence[Path], sweeps: Sequence[str], which: str, options: Options) -> None:
    """Write the tables as Markdown, with all columns and notes, beside the results, and say where."""
    name = "_".join(sweeps).replace("/", "_")
    path = results[0] / "tables" / f"{name}{'' if which == 'auto' else f'_{which}'}.md"
    whole: Options = {**options, "columns": ()}
    with contextlib.suppress(OSError):  # of results that one may only read
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, report(results, sweeps, "markdown", which, **whole))
        print(f"all columns and notes: {path}", file=sys.stderr)
