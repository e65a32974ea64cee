"""What the commands of the gate share: arguments, output and exit codes."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.errors import Parser, UserError
from reports.formats.output import deliver, write
from reports.gate.compare import ALPHA
from reports.gate.entries import Baseline
from reports.gate.rows import FAILING, KINDS, Comparison
from reports.gate.show import junit, text

DEFAULT = Path("benchmarks/baseline.yaml")
QUIET, REGRESSED = 0, 1


def add_baseline(parser: Parser) -> None:
    """The argument that names the file."""
    parser.add_argument("--baseline", type=Path, default=DEFAULT, metavar="FILE", help="default: %(default)s")


def add_output(parser: Parser) -> None:
    """Arguments of a comparison."""
    parser.add_argument("--measures", nargs="+", choices=KINDS, default=KINDS, help="default: all")
    parser.add_argument(
        "--alpha",
        type=float,
        default=ALPHA,
        help="share of comparisons of unchanged code that may report a regression; default: %(default)s",
    )
    parser.add_argument("--strict", action="store_true", help="a run that only one side has fails the comparison too")
    parser.add_argument("--format", choices=("text", "markdown"), default="text", help="markdown: for a pull request")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML there too")


def tell(comparison: Comparison, before: Baseline, after: Baseline, options: argparse.Namespace) -> int:
    """Print the comparison and give the exit code. Raises UserError where the XML cannot be written."""
    deliver(text(comparison, before, after, options.format == "markdown"), None)
    if options.junit:
        write(options.junit, junit(comparison, before.sweep, options.strict), "--junit")
    failed = comparison.of(*FAILING) or (options.strict and comparison.absent)
    return REGRESSED if failed else QUIET


def check_alpha(alpha: float) -> None:
    """Raise UserError where it is no share."""
    if not 0 < alpha < 1:
        raise UserError(f"--alpha {alpha}: must lie between 0 and 1")
