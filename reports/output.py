"""Where the commands' answers go, and how they end."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from harness.errors import UserError
from harness.results import write_atomically

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""C0 and C1 controls and Unicode's bidirectional ones (UAX 9)."""


def answered(act: Callable[[], int]) -> int:
    """The exit code of a command: what `act` gives, 2 with its problems on stderr, one line each, or 130 where it was
    interrupted."""
    try:
        return act()
    except UserError as error:
        print(shown("\n".join(error.problems)), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (such as `head`) has had enough; keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def shown(text: str) -> str:
    """A text that may go to a terminal: control characters and those that turn the direction of writing, which a record
    from elsewhere may hold, as their escapes, which JSON reads as the same. Line feeds and tabs stay."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def deliver(text: str, path: Path | None) -> None:
    """Print a text, or write it to a file. Raises UserError where that is not possible."""
    if path is None:
        print(shown(text), end="", flush=True)
    else:
        write(path, text)


def write(path: Path, content: str | bytes, option: str = "--output") -> None:
    """Write the file that an option names. Raises UserError where that is not possible."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be written ({error.strerror})") from None
