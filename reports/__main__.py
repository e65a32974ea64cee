"""`python -m reports`: tables of a sweep, or the list of sweeps; or one of the commands in `reports/commands`."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence

from harness.errors import run_command
from harness.places import take_folders
from reports.commands.table import commands
from reports.commands.table import main as table


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the report, or do another command; 0, or 2 with the problems on stderr, one line each."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(lambda: _command(take_folders(words)))


def _command(words: list[str]) -> int | None:
    """Do the command that the words ask for. Raises UserError."""
    if words and words[0] in {path.stem for path in commands()}:
        code: int | None = importlib.import_module(f"reports.commands.{words[0]}").main(words[1:])
        return code
    return table(words)


def script() -> None:
    """Run the command line and end the process with its exit code."""
    gc.disable()  # records are many small objects that all live to the end; looking for garbage only takes time
    sys.exit(main())


if __name__ == "__main__":
    script()
