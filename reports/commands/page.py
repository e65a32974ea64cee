"""One HTML file to explore all runs: table, trade-offs, a run, two runs, what fits; needs no server and no network."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import Parser, UserError
from reports.formats.output import folder, write
from reports.page.collect import collect, folders
from reports.page.html import page
from reports.page.payload import Options, payload, progress
from reports.page.references import embedded, with_file

DESCRIPTION = """\
Write one HTML file with every run of results folders, or of those below a folder. It is opened from disk; it loads
nothing from anywhere.

It carries what records carry: scores, costs, predictions. Inputs and references of test examples appear for the
embedded data alone (restaurants, cuisine), unless --references names a file of them: JSON lines with data,
test_examples, index, input, references, as python -m harness references writes it. Do not hand on such a page where
you may not hand on the data."""


def parser() -> Parser:
    """The command line."""
    options = Parser(
        prog="python -m reports page", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--results", type=folder, nargs="+", default=[Path("results")], metavar="FOLDER", help="default: results"
    )
    options.add_argument("--output", type=Path, default=Path("page.html"), metavar="FILE", help="default: %(default)s")
    options.add_argument("--title", default="Runs", help="heading of the page (default: %(default)s)")
    options.add_argument("--references", type=Path, metavar="FILE", help="inputs and references to show, JSON lines")
    options.add_argument(
        "--examples",
        type=int,
        default=Options.examples,
        metavar="N",
        help="predictions of a run (default: %(default)s)",
    )
    options.add_argument(
        "--intervals",
        type=int,
        default=Options.intervals,
        metavar="N",
        help="compute intervals of up to N finished runs (default: %(default)s)",
    )
    return options


def main(arguments: Sequence[str]) -> int:
    """Write the page. Raises UserError."""
    options = parser().parse_args(arguments)
    text = built(options, progress)
    write(options.output, text)
    progress(f"{options.output}, {len(text) / 1e6:.1f} MB")
    return 0


def built(options: argparse.Namespace, say: Callable[[str], None]) -> str:
    """The page's text. Raises UserError."""
    if problems := [f"--{name}: must be 0 or more" for name in ("examples", "intervals") if getattr(options, name) < 0]:
        raise UserError(*problems)
    references = with_file(embedded(), options.references) if options.references else embedded()
    rows, problems = collect(folders(options.results))
    for line in problems + [row.run.problem for row in rows if row.run.problem]:
        say(f"warning: {line}")
    data = payload(rows, references, Options(options.examples, options.intervals), say)
    return page(data | {"problems": problems}, options.title)
