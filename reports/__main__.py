"""`python -m reports`: tables of a sweep, or the list of sweeps; or one of the commands in `reports/commands`."""

from __future__ import annotations

import argparse
import ast
import gc
import importlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UserError
from reports.compare import compare
from reports.export import FORMATS, exported
from reports.latency_table import latency_table
from reports.output import answered, deliver, write
from reports.read import Sweep, listed, load_all, sweep_names
from reports.render import render
from reports.seeds import seeds_table
from reports.speed_table import speed_table
from reports.storage import storage_table
from reports.tables import Table, noted, sweeps_table, tables_of

DESCRIPTION = """\
Turn the records of a sweep into tables. Without SWEEP, list the sweeps in the results folder.

Rows are ranked only where they differ in nothing but what the table is about, and only as far as a paired bootstrap
over the test examples tells them apart. Rows that failed or have not been run are shown as such."""

COMMANDS = Path(__file__).parent / "commands"
"""A file there is a command: `main(arguments)` is what it does, the first line of its docstring what the help says."""

EXAMPLES = """\
examples:
  python -m reports                                        which sweeps there are
  python -m reports methods                                its tables, as Markdown
  python -m reports methods --table storage                bytes of one base with N adapters, of N full copies
  python -m reports methods --format latex --output t.tex  for a paper (booktabs)
  python -m reports methods ranks --format csv             raw numbers, one line a run
  python -m reports methods --score rougeL                 ranked by another score
  python -m reports methods --allow settings.train.steps   ranked though the rows differ in their steps"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m reports",
        description=DESCRIPTION,
        epilog=f"{EXAMPLES}\n\nother commands (each has its --help):\n{command_lines()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("sweeps", nargs="*", metavar="SWEEP", help="name of a sweep in the results folder")
    made.add_argument(
        "--results",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="default: results; given again, the runs of several machines are put together",
    )
    made.add_argument(
        "--format",
        choices=("markdown", "latex", "html", *FORMATS),
        default="markdown",
        help="markdown (default); latex: booktabs; html: a page; csv, json, parquet: raw numbers, a line a run",
    )
    made.add_argument(
        "--table",
        choices=("methods", "rank", "lr", "memory", "speed", "inference", "storage", "seeds", "auto"),
        default="auto",
        help="auto (default): methods, rank where three rows differ only in rank, lr where rows differ only in the "
        "learning rate; memory: planned and counted, by owner; speed: steps, shares, FLOPs; inference: latency; "
        "storage: bytes of many tasks; seeds: agreement of rows that differ only in the seed",
    )
    made.add_argument(
        "--score", metavar="NAME", help="what rows are compared by (default: accuracy, bleu or the first)"
    )
    made.add_argument(
        "--allow",
        metavar="FIELD,…",
        type=lambda text: tuple(filter(None, text.split(","))),
        default=(),
        help="rank rows though they differ in these fields of their keys, such as settings.train.steps",
    )
    made.add_argument(
        "--reach",
        type=float,
        metavar="LOSS",
        help="with --table speed: seconds and tokens until the validation loss was at most this",
    )
    made.add_argument("--output", type=Path, metavar="FILE", help="write there instead of printing")
    return made


def commands() -> list[Path]:
    """The files of the other commands, by name."""
    return sorted(COMMANDS.glob("[!_]*.py"))


def command_lines() -> str:
    """A line for each of them, for the help; nothing of them is imported."""
    said = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in commands()}
    return "\n".join(f"  python -m reports {name:<12}{text.partition(chr(10))[0]}" for name, text in said.items())


def report(
    results: Path | Sequence[Path],
    names: Sequence[str],
    form: str,
    which: str,
    score: str | None = None,
    allow: Sequence[str] = (),
    reach: float | None = None,
) -> str:
    """The text of the report, in any format but Parquet. Raises UserError."""
    tables = tables_for(
        results, names, which if form not in FORMATS or which != "auto" else "methods", score, allow, reach
    )
    return str(exported(tables, form)) if form in FORMATS else render(tables, form)


def tables_for(
    results: Path | Sequence[Path],
    names: Sequence[str],
    which: str,
    score: str | None,
    allow: Sequence[str],
    reach: float | None = None,
) -> list[Table]:
    """The tables of the report. Raises UserError."""
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
    return [noted(table, sweep) for sweep in sweeps for table in _tables_of(sweep, which, score, allow, reach)]


def _tables_of(sweep: Sweep, which: str, score: str | None, allow: Sequence[str], reach: float | None) -> list[Table]:
    """The tables of one sweep. Raises UserError."""
    if which == "speed":
        return [speed_table(sweep, reach)]
    if which == "inference":
        return [latency_table(sweep)]
    if which == "storage":
        return [storage_table(sweep)]
    if which == "seeds":
        return [seeds_table(sweep)]
    return tables_of(sweep, compare(sweep, score, allow), which)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the report, or do another command; 0, or 2 with the problems on stderr, one line each."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in {path.stem for path in commands()}:
        command = importlib.import_module(f"reports.commands.{given[0]}")
        return answered(lambda: int(command.main(given[1:])))
    options = parser().parse_args(given)
    return answered(lambda: _tables(options))


def _tables(options: argparse.Namespace) -> int:
    """Print or write the tables. Raises UserError."""
    results, form = options.results or [Path("results")], options.format
    if form == "parquet":
        if options.output is None:
            raise UserError("--format parquet: is no text; name a file with --output")
        tables = tables_for(results, options.sweeps, options.table, options.score, options.allow, options.reach)
        write(options.output, exported(tables, form))
    else:
        deliver(
            report(results, options.sweeps, form, options.table, options.score, options.allow, options.reach),
            options.output,
        )
    return 0


if __name__ == "__main__":
    gc.disable()  # records are many small objects that all live to the end; looking for garbage only takes time
    sys.exit(main())
