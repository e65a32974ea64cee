"""a sweep's tables and figures into Weights & Biases, as one run of the sweep's group

`python -m harness -m +sweep=NAME` calls this when a sweep has ended, unless `tracker=none`. The run's id follows
from the sweep's runs, so that logging again goes on with the same one. What goes wrong is a warning and exit code 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness.errors import Parser, UserError, first_line
from harness.files import hash_of
from reports.formats.output import folder
from reports.read.runs import Sweep, load_all

SECONDS_TO_CONNECT = 30


def parser() -> Parser:
    """The command line."""
    options = Parser(
        prog="python -m reports track", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("sweep", metavar="SWEEP", help="name of a sweep in the results folder")
    options.add_argument(
        "--results", type=folder, default=Path("results"), metavar="FOLDER", help="default: %(default)s"
    )
    options.add_argument("--project", default="peft-harness", help="default: %(default)s")
    options.add_argument("--entity", metavar="NAME", help="user or team (default: W&B's own)")
    options.add_argument("--group", metavar="NAME", help="of the run (default: SWEEP)")
    options.add_argument(
        "--mode", choices=("auto", "online", "offline"), default="auto", help="auto (default): online when logged in"
    )
    return options


def run_of(sweep: Sweep) -> str:
    """The id of the sweep's run in W&B."""
    return f"sweep-{hash_of([sweep.name, sorted(run.id for run in sweep.runs)])[:12]}"


def track(sweep: Sweep, results: Path, mode: str, **place: str | None) -> None:
    """Log what the reports print and draw; `place`: W&B's project, entity and group. Raises whatever wandb does."""
    import wandb

    from reports.commands.figures import drawn, names
    from reports.commands.table import tables_of
    from reports.values.asked import Asked

    logged: dict[str, Any] = {}
    for number, table in enumerate(tables_of(Asked(sweep, {}), "auto"), 1):
        frame = table.frame.astype(object)
        rows: list[Iterable[Any]] = [*frame.where(frame.notna(), None).values]
        logged[f"tables/{number} {table.title.rpartition(': ')[2]}"] = wandb.Table(list(frame.columns), rows)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in drawn(sweep, names(), "png", lambda _: None):
            path = Path(folder) / f"{name}.png"
            path.write_bytes(content)
            logged[f"figures/{name}"] = wandb.Image(str(path))
        run = _start(sweep, results, mode, **place)
        run.log(logged)
        run.finish()


def _start(sweep: Sweep, results: Path, mode: str, **place: str | None) -> Any:
    """W&B's run in this place; offline where online fails."""
    import wandb

    options: dict[str, Any] = {
        **place,
        "dir": str(results),
        "id": run_of(sweep),
        "resume": "allow",
        "name": f"{sweep.name}: tables and figures",
        "job_type": "report",
        "settings": wandb.Settings(init_timeout=SECONDS_TO_CONNECT, silent=True, console="off", x_disable_stats=True),
    }
    if mode == "auto":
        own = os.environ.get("WANDB_MODE", "").lower()
        mode = own if own in ("online", "offline") else ("online" if wandb.login(prompt=False) else "offline")
    try:
        return wandb.init(mode=mode, **options)  # type: ignore[arg-type]
    except Exception as error:  # its own errors and those of its transport
        if mode == "offline":
            raise
        print(f"warning: W&B online failed ({first_line(error)}); logged offline", file=sys.stderr)
        wandb.teardown()  # or the failed attempt would keep the run's id to itself
        return wandb.init(mode="offline", **options)


def main(arguments: Sequence[str]) -> int:
    """Log the sweep; 0, or 1 with a warning where W&B cannot. Raises UserError."""
    options = parser().parse_args(arguments)
    if options.mode == "auto" and os.environ.get("WANDB_MODE", "").lower() == "disabled":
        print("W&B is switched off (WANDB_MODE=disabled); nothing is logged", file=sys.stderr)
        return 0
    try:
        (sweep,) = load_all(options.results, [options.sweep])
        place = {"project": options.project, "entity": options.entity, "group": options.group or sweep.name}
        track(sweep, options.results, options.mode, **place)
    except UserError:
        raise
    except Exception as error:  # whatever it is, nobody loses a sweep to it
        print(f"warning: W&B has no report of {options.sweep} ({first_line(error)})", file=sys.stderr)
        return 1
    return 0
