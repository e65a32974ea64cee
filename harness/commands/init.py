"""A folder of one's own, with an example of each thing that it may hold: `python -m harness init FOLDER`."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import Parser, UserError

EXAMPLE = Path(__file__).parent / "assets" / "own"

DESCRIPTION = """\
Write a small folder of configurations, sweeps and Python of your own, to begin from: a method, a metric, a data source
and a sweep that uses them. --config-dir FOLDER adds such a folder to any command."""


def main(arguments: list[str]) -> None:
    """Write the folder. Raises UserError where it is there and not empty."""
    options = Parser(prog="python -m harness init", description=DESCRIPTION)
    options.add_argument("folder", type=Path, metavar="FOLDER", help="a new or an empty one")
    folder: Path = options.parse_args(arguments).folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already, and not empty; name a new folder")
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        print(file)
    print(f"run its sweep: python -m harness --config-dir {folder} +sweep=first")
    print(f"its tables:    python -m reports --config-dir {folder} first")
