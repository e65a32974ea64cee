"""`python -m harness [OVERRIDES]`: see `harness.commands.run`; `python -m harness COMMAND …`: see that command."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import harness
from harness.errors import INTERRUPTED, UserError, refuse, run_command
from harness.launch.interrupts import raise_once
from harness.places import take_folders

SHOW = "--show-example"
COMMANDS = {path.stem.replace("_", "-"): path.stem for path in (Path(__file__).parent / "commands").glob("[!_]*.py")}
"""A file there is a command: `main(arguments)` is what it does."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        raise_once()
        sys.argv[1:] = take_folders(sys.argv[1:])
        if "--version" in sys.argv[1:]:
            print(f"peft-harness {harness.__version__}")
            return
        words = [word for word in sys.argv[1:] if word != SHOW]
        name, *rest = ["show-example", *words] if SHOW in sys.argv else words or ["run"]
        if name in COMMANDS and name != "run":
            sys.exit(run_command(lambda: command(name).main(rest)))
        command("run").main()  # takes a second to import, in which somebody may press Ctrl-C
    except UserError as error:
        sys.exit(refuse(error.problems))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def command(name: str) -> Any:
    """The module of a command."""
    return importlib.import_module(f"harness.commands.{COMMANDS[name]}")


if __name__ == "__main__":
    main()
