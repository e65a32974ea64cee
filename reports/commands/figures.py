"""figures of a sweep (SVG, PNG): rank, Pareto fronts, memory, loss curves, forgetting, learning rates, profiles

Each file in `reports/figures` that does not begin with `_` is one. Files are named SWEEP_FIGURE.FORMAT. A figure that a
sweep has no data for is left out, with a line on stderr that says why.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from harness.errors import Parser
from reports.formats.output import folder, write
from reports.read.runs import Sweep, load_all

FOLDER = Path(__file__).parents[1] / "figures"


def names() -> list[str]:
    """The figures there are."""
    return sorted(path.stem for path in FOLDER.glob("[!_]*.py"))


def parser() -> Parser:
    """The command line."""
    options = Parser(
        prog="python -m reports figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python -m reports figures methods --only pareto --format png --output figures",
    )
    options.add_argument("sweeps", nargs="+", metavar="SWEEP", help="name of a sweep in the results folder")
    options.add_argument(
        "--results", type=folder, action="append", metavar="FOLDER", help="may be repeated; default: results"
    )
    options.add_argument("--output", type=Path, default=Path("figures"), metavar="FOLDER", help="default: %(default)s")
    options.add_argument("--format", choices=("svg", "png"), default="svg", help="default: %(default)s; png: 100 dpi")
    options.add_argument("--only", action="append", choices=names(), help="this figure alone; may be given again")
    return options


def drawn(sweep: Sweep, chosen: Sequence[str], form: str, say: Callable[[str], None]) -> Iterator[tuple[str, bytes]]:
    """Each figure's name and file; `say` gets the reason where one is left out."""
    from reports.figures._data import NoData, data_of
    from reports.figures._style import saved, styled

    try:
        data = data_of(sweep)
    except NoData as reason:
        say(f"{sweep.name}: no figures: {reason}")
        return
    for name in chosen:
        try:
            with styled():
                content = saved(importlib.import_module(f"reports.figures.{name}").draw(data), form)
        except NoData as reason:
            say(f"{sweep.name}: no figure {name}: {reason}")
        else:
            yield name, content


def main(arguments: Sequence[str]) -> int:
    """Write the figures and print their paths. Raises UserError."""
    options = parser().parse_args(arguments)
    say = partial(print, file=sys.stderr)
    for sweep in load_all(options.results or [Path("results")], options.sweeps):
        stem = re.sub(r"[^\w.-]+", "-", sweep.name)
        for name, content in drawn(sweep, options.only or names(), options.format, say):
            path = options.output / f"{stem}_{name}.{options.format}"
            write(path, content)
            print(path, flush=True)
    return 0
