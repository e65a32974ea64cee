"""Measure a baseline's sweep anew and compare; exit code 1 on a regression."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.errors import Parser
from reports.formats.output import at_least
from reports.gate.baseline import load
from reports.gate.command import add_baseline, add_output, check_alpha, tell
from reports.gate.compare import compare, confirmed
from reports.gate.measure import measure


def parser() -> Parser:
    """The command line."""
    options = Parser(prog="python -m reports regress", description=__doc__)
    add_baseline(options)
    options.add_argument(
        "--repeats", type=at_least(1), metavar="N", help="of each run; default: as many as the baseline has"
    )
    options.add_argument(
        "--results", type=Path, metavar="FOLDER", help="keep the records there; default: a temporary one"
    )
    add_output(options)
    return options


def main(arguments: list[str]) -> int:
    """Measure, compare and tell; where noise could explain a regression, measure once more."""
    options = parser().parse_args(arguments)
    check_alpha(options.alpha)
    before, kinds = load(options.baseline), tuple(options.measures)
    repeats = options.repeats or before.repeats
    with _folder(options.results) as results:
        after = measure(before.sweep, before.overrides, range(repeats), results)
        comparison = compare(before, after, options.alpha, kinds)
        if any(row.noisy for row in comparison.of("regression")):
            print("memory or throughput may have regressed: measuring once more", file=sys.stderr)
            again = measure(before.sweep, before.overrides, range(repeats), results / "again")
            comparison = confirmed(comparison, compare(before, again, options.alpha, kinds))
    return tell(comparison, before, after, options)


@contextlib.contextmanager
def _folder(parent: Path | None) -> Iterator[Path]:
    """A fresh folder in the one that was given, or a temporary one."""
    if parent is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        parent.mkdir(parents=True, exist_ok=True)
        yield Path(tempfile.mkdtemp(prefix="regress-", dir=parent))
