"""Save what a sweep measures as a baseline, compare records with it, or accept new ones."""

from __future__ import annotations

import argparse
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import Parser, UserError
from reports.formats.output import at_least, folder
from reports.gate.baseline import load, write
from reports.gate.command import add_baseline, add_output, check_alpha, tell
from reports.gate.compare import compare
from reports.gate.entries import Acceptance, Baseline
from reports.gate.measure import measure, of_folder

REPEATS = 5


def parser() -> Parser:
    """The command line."""
    commands = Parser(prog="python -m reports baseline", description=__doc__)
    actions = commands.add_subparsers(dest="action", required=True)
    save = actions.add_parser("save", help="a first baseline, of a sweep")
    save.add_argument("sweep", metavar="SWEEP")
    save.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for every run of it")
    accept = actions.add_parser("accept", help="replace the baseline's figures and say why")
    for action in (save, accept):
        add_baseline(action)
        action.add_argument(
            "--results", type=folder, metavar="FOLDER", help="take records there; default: measure anew"
        )
        action.add_argument(
            "--repeats", type=at_least(1), metavar="N", help=f"measured anew; default: {REPEATS}, or as before"
        )
        action.add_argument("--reason", required=action is accept, default="the first baseline")
    compared = actions.add_parser("compare", help="records that there are; exit code 1 on a regression")
    add_baseline(compared)
    compared.add_argument(
        "--results", type=folder, default=Path("results"), metavar="FOLDER", help="default: %(default)s"
    )
    add_output(compared)
    return commands


def main(arguments: list[str]) -> int:
    """Do one of the three."""
    options = _asked(parser(), arguments)
    if options.action != "compare" and not options.reason.strip():
        raise UserError("--reason: is empty; say why these figures are the right ones")
    act = {"save": _save, "accept": _accept, "compare": _compare}[options.action]
    return act(options)


def _asked(commands: Parser, arguments: list[str]) -> argparse.Namespace:
    """The command line, whose overrides may stand behind options too: argparse takes those alone that stand beside the
    sweep. Raises UserError."""
    options: argparse.Namespace
    options, rest = commands.parse_known_args(arguments)
    if options.action != "save" or any("=" not in word or word.startswith("-") for word in rest):
        return commands.parse_args(arguments)
    options.overrides += rest
    return options


def _compare(options: argparse.Namespace) -> int:
    check_alpha(options.alpha)
    before = load(options.baseline)
    after = of_folder(options.results, before.sweep)
    return tell(compare(before, after, options.alpha, tuple(options.measures)), before, after, options)


def _save(options: argparse.Namespace) -> int:
    if options.baseline.exists():
        raise UserError(f"{options.baseline}: there already; replace its figures: python -m reports baseline accept")
    return _write(options, _figures(options, options.sweep, options.overrides, REPEATS), [])


def _accept(options: argparse.Namespace) -> int:
    before = load(options.baseline)
    new = _figures(options, before.sweep, before.overrides, before.repeats)
    return _write(options, new, before.accepted)


def _figures(options: argparse.Namespace, sweep: str, overrides: list[str], repeats: int) -> Baseline:
    if options.results:
        return of_folder(options.results, sweep, overrides)
    with tempfile.TemporaryDirectory() as folder:
        return measure(sweep, overrides, range(options.repeats or repeats), Path(folder))


def _write(options: argparse.Namespace, new: Baseline, earlier: list[Acceptance]) -> int:
    accepted = [*earlier, Acceptance(date=datetime.now(UTC).date().isoformat(), reason=options.reason.strip())]
    write(options.baseline, new.model_copy(update={"accepted": accepted}))
    print(f"{options.baseline}: {len(new.runs)} runs, {new.repeats} repeats")
    return 0
