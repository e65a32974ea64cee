"""Each measure over versions with its change points, from a baseline's git history, baseline files, or records."""

from __future__ import annotations

from pathlib import Path

from harness.errors import Parser, UserError
from reports.formats.output import deliver, write
from reports.gate.command import DEFAULT
from reports.gate.history import figure, of_files, of_git, of_records, series, table


def parser() -> Parser:
    """The command line."""
    options = Parser(prog="python -m reports history", description=__doc__)
    help_source = "a baseline file in git, a folder of baseline files, or a results folder; default: %(default)s"
    options.add_argument("source", nargs="?", type=Path, default=DEFAULT, metavar="SOURCE", help=help_source)
    options.add_argument("--sweep", metavar="NAME", help="of a results folder")
    options.add_argument("--svg", type=Path, metavar="FILE", help="draw what moved there too")
    return options


def main(arguments: list[str]) -> int:
    """Print the table, and draw the figure if one is asked for."""
    options = parser().parse_args(arguments)
    source: Path = options.source
    if (source / "runs").is_dir():
        if not options.sweep:
            raise UserError(f"{source}: holds records; name their sweep with --sweep")
        versions = of_records(source, options.sweep)
    else:
        versions = of_files(source) if source.is_dir() else of_git(source)
    measures = series(versions)
    deliver(table(versions, measures), None)
    if options.svg:
        write(options.svg, figure(versions, measures), "--svg")
    return 0
