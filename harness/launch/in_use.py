"""Whether a process has a run's folder."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable
from typing import Any

from harness.notices import say
from harness.results.folder import RunFolder


def in_use(folder: RunFolder) -> Any:
    """A run's folder, taken for as long as what is returned is open; None where a process of the run has it. One may
    outlive its sweep, and with it the sweep's own lock, by the time that a checkpoint takes."""
    file = folder.log.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def wait_until_free(folder: RunFolder, given_up: Callable[[], bool]) -> bool:
    """Wait until no process of a run has its folder, as one that is ending has it; whether none has when it is given
    up."""
    warned = False
    while (mine := in_use(folder)) is None:
        if given_up():
            return False
        if not warned:
            say(f"{folder.run}: its process is ending; waiting for it")
            warned = True
        time.sleep(0.1)
    mine.close()
    return True
