"""Measure a baseline's sweep anew and compare; exit code 1 on a regression."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reports.gate.baseline import load
from reports.gate.command import add_baseline, add_output, check_alpha, tell
from reports.gate.compare import compare, confirmed
from reports.gate.measure import measure


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m reports regress", description=__doc__)
    add_baseline(made)
    made.add_argument("--repeats", type=int, metavar="N", help="of each run; default: as many as the baseline has")
    made.add_argument("--results", type=Path, metavar="FOLDER", help="keep the records there; default: a temporary one")
    add_output(made)
    return made


def main(arguments: list[str]) -> int:
    """Measure, compare and tell; where noise could explain a regression, measure once more."""
    options = parser().parse_args(arguments)
    check_alpha(options.alpha)
    before, kinds = load(options.baseline), tuple(options.measures)
    repeats = max(1, options.repeats or before.repeats)
    with _folder(options.results) as results:
        after = measure(before.sweep, before.overrides, range(repeats), results)
        found = compare(before, after, options.alpha, kinds)
        if any(row.noisy for row in found.of("regression")):
            print("memory or throughput may have regressed: measuring once more", file=sys.stderr)
            again = measure(before.sweep, before.overrides, range(repeats), results / "again")
            found = confirmed(found, compare(before, again, options.alpha, kinds))
    return tell(found, before, after, options)


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """A fresh folder in the one that was given, or a temporary one."""
    if given is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        given.mkdir(parents=True, exist_ok=True)
        yield Path(tempfile.mkdtemp(prefix="regress-", dir=given))
