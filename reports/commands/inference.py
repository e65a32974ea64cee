"""Latency, tokens per second and memory of answering: base, unmerged and merged models of a sweep, by batch size."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from reports.export import TEXTS, exported
from reports.latency import latency_table
from reports.output import deliver
from reports.read import load_all
from reports.render import render


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m reports inference", description=__doc__)
    made.add_argument("sweeps", nargs="+", metavar="SWEEP", help="name of a sweep in the results folder")
    made.add_argument(
        "--results", type=Path, action="append", metavar="FOLDER", help="may be repeated; default: results"
    )
    made.add_argument(
        "--format", choices=("markdown", "latex", "html", *TEXTS), default="markdown", help="default: %(default)s"
    )
    made.add_argument("--output", type=Path, metavar="FILE", help="write there instead of printing")
    return made


def main(arguments: Sequence[str]) -> int:
    """Print or write the tables. Raises UserError."""
    options = parser().parse_args(arguments)
    tables = [latency_table(sweep) for sweep in load_all(options.results or [Path("results")], options.sweeps)]
    text = str(exported(tables, options.format)) if options.format in TEXTS else render(tables, options.format)
    deliver(text, options.output)
    return 0
