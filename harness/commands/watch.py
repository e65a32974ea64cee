"""How far a sweep is that runs in another terminal, or on other machines: `python -m harness watch SWEEP`."""

from __future__ import annotations

import time
from pathlib import Path

from harness.errors import Parser
from harness.launch.live_view import SweepRun, SweepView
from harness.results.folder import RunFolder, finished_record
from harness.results.sweep_files import read_sweep

DESCRIPTION = """\
Show how far a sweep is: done, failed and left, the time left, and phase and loss of what runs now, until all its runs
have ended. It reads the results folder alone, and changes nothing; Ctrl-C ends the looking."""
INTERVAL = 0.5
"""Seconds from a look to the next."""


def main(arguments: list[str]) -> None:
    """Look until the sweep is over. Raises UserError where there is none of that name."""
    options = Parser(prog="python -m harness watch", description=DESCRIPTION)
    options.add_argument("sweep", metavar="SWEEP", help="its name, as the sweep says when it begins")
    options.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER", help="default: results")
    chosen = options.parse_args(arguments)
    listed = read_sweep([chosen.results], chosen.sweep)["runs"]
    points = [
        SweepRun(run["id"], run["label"], run["overrides"], finished_record(chosen.results, run["id"]) is not None)
        for run in listed
    ]
    records = [RunFolder.of(chosen.results, point.run).record for point in points]
    print(f"sweep {chosen.sweep}: {len(points)} points, {sum(p.done for p in points)} done")
    with SweepView(points, chosen.results, since=0):
        while not all(record.exists() for record in records):
            time.sleep(INTERVAL)
