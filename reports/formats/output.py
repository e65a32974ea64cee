"""Where the commands' answers go."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from harness.errors import UserError, shown
from harness.files import write_atomically


def folder(text: str) -> Path:
    """The folder that an option names, for argparse. One that is not there is a slip of the pen; the default one may be
    made later."""
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text} is no folder; run something into it, or name another one")
    return Path(text)


def at_least(low: int) -> Callable[[str], int]:
    """The whole number that an option gives, for argparse."""

    def number(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{text} is less than {low}")
        return value

    number.__name__ = "int"  # argparse says it where the text is no number
    return number


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
