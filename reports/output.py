"""Where the commands' answers go, and how they end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from harness.errors import UserError
from harness.results import write_atomically


def answered(act: Callable[[], int]) -> int:
    """The exit code of a command: what `act` gives, 2 with its problems on stderr, one line each, or 130 where it was
    interrupted."""
    try:
        return act()
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (such as `head`) has had enough; keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def deliver(text: str, path: Path | None) -> None:
    """Print a text, or write it to a file. Raises UserError where that is not possible."""
    if path is None:
        print(text, end="", flush=True)
    else:
        write(path, text)


def write(path: Path, content: str | bytes, option: str = "--output") -> None:
    """Write the file that an option names. Raises UserError where that is not possible."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be written ({error.strerror})") from None
