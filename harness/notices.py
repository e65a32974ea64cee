"""A line that the user should see now, whichever process of a run it comes from."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable


def _print(line: str, kept: bool) -> None:
    if sys.stderr.isatty():  # which would break it within a word
        width = shutil.get_terminal_size().columns
        line = textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
    print(line, file=sys.stderr, flush=True)


_tell: Callable[[str, bool], None] = _print


def say(line: str, kept: bool = True) -> None:
    """Tell it: on this process's stderr, or where `redirect` has said. `kept`: the run's record has it too, as
    something that its figures should be read with."""
    _tell(line, kept)


def redirect(tell: Callable[[str, bool], None]) -> None:
    """Have this process's lines told by `tell`: a run's process has no terminal, its stderr is the run's log."""
    global _tell
    _tell = tell
