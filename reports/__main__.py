"""`python -m reports`: tables of a sweep, or the list of sweeps; or one of the commands in `reports/commands`."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence

from harness.errors import run_command
from reports.commands.table import commands
from reports.commands.table import main as table


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the report, or do another command; 0, or 2 with the problems on stderr, one line each."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in {path.stem for path in commands()}:
        command = importlib.import_module(f"reports.commands.{words[0]}")
        return run_command(lambda: command.main(words[1:]))
    return run_command(lambda: table(words))


if __name__ == "__main__":
    gc.disable()  # records are many small objects that all live to the end; looking for garbage only takes time
    sys.exit(main())
