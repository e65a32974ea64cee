"""`python -m reports`: tables of a sweep, or the list of sweeps; or one of the commands in `reports/commands`."""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UserError
from harness.results import write_atomically
from reports.compare import compare
from reports.read import Sweep, load_sweep, sweep_names
from reports.render import render
from reports.seeds import seeds_table
from reports.storage import storage_table
from reports.tables import sweeps_table, tables_of

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
  python -m reports methods ranks --format csv             raw numbers, one line a run"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m reports",
        description=DESCRIPTION,
        epilog=f"{EXAMPLES}\n\nother commands (each has its --help):\n{command_lines()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("sweeps", nargs="*", metavar="SWEEP", help="name of a sweep in the results folder")
    made.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER", help="default: %(default)s")
    made.add_argument(
        "--format",
        choices=("markdown", "csv", "latex"),
        default="markdown",
        help="markdown (default); csv: raw numbers in full precision; latex: booktabs",
    )
    made.add_argument(
        "--table",
        choices=("methods", "rank", "storage", "seeds", "auto"),
        default="auto",
        help="auto (default): methods, and rank where three rows differ only in rank; storage: bytes of many tasks; "
        "seeds: spread and agreement of rows that differ only in the seed",
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


def load_all(results: Path, names: Sequence[str]) -> list[Sweep]:
    """The sweeps, with a warning on stderr for each record that cannot be read. Raises UserError, once for all."""
    sweeps: list[Sweep] = []
    problems: list[str] = []
    for name in dict.fromkeys(names):
        try:
            sweeps.append(load_sweep(results, name))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*problems)
    for run in (run for sweep in sweeps for run in sweep.runs):
        if run.problem:
            print(f"warning: {run.problem}", file=sys.stderr)
    return sweeps


def report(results: Path, names: Sequence[str], form: str, which: str) -> str:
    """The text of the report. Raises UserError."""
    if not names:
        return render([sweeps_table(load_all(results, sweep_names(results)))], form)
    sweeps = load_all(results, names)
    empty = [
        f"{sweep.name}: none of its {len(sweep.runs)} runs has a readable record in {results}; "
        f"run it (python -m harness +sweep={sweep.name})"
        for sweep in sweeps
        if not sweep.recorded
    ]
    if empty:
        raise UserError(*empty)
    if which == "storage":
        return render([storage_table(sweep) for sweep in sweeps], form)
    if which == "seeds":
        return render([seeds_table(sweep) for sweep in sweeps], form)
    return render([table for sweep in sweeps for table in tables_of(sweep, compare(sweep), which)], form)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the report, or do another command; 0, or 2 with the problems on stderr, one line each."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in {path.stem for path in commands()}:
        return int(importlib.import_module(f"reports.commands.{given[0]}").main(given[1:]))
    options = parser().parse_args(given)
    try:
        text = report(options.results, options.sweeps, options.format, options.table)
        if options.output is None:
            print(text, end="", flush=True)
        else:
            write(options.output, text)
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (such as `head`) has had enough; keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def write(path: Path, text: str) -> None:
    """Write a report to a file. Raises UserError where that is not possible."""
    try:
        write_atomically(path, text)
    except OSError as error:
        raise UserError(f"--output {path}: cannot be written ({error.strerror})") from None


if __name__ == "__main__":
    sys.exit(main())
