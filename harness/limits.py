"""Limits for what is computed from someone else's file, such as a template: a short time and little memory.

`resource` and `signal` set them in this process, since a process for each text would take longer than the text.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

SECONDS = 5.0
BYTES = 256 * 2**20


class TooMuch(Exception):
    """It takes longer, or more memory."""


@contextlib.contextmanager
def little() -> Iterator[None]:
    """What happens inside may take SECONDS, and BYTES more than the process has. Raises TooMuch. Not limited: the time
    outside the main thread, which alone sees signals; memory where this system does not say what a process has."""
    main = threading.current_thread() is threading.main_thread()
    limits = _limit_memory()
    if main:
        handler = signal.signal(signal.SIGALRM, _out_of_time)
        left, interval = signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    except MemoryError:
        raise TooMuch(f"takes more than {BYTES // 2**20} MiB") from None
    finally:
        if main:
            signal.setitimer(signal.ITIMER_REAL, left, interval)
            signal.signal(signal.SIGALRM, handler)
        if limits:
            resource.setrlimit(resource.RLIMIT_AS, limits)


def _limit_memory() -> tuple[int, int] | None:
    """Lower the limit of the process's address space; what it was, or None where it stays."""
    if sys.platform != "linux":
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if soft != resource.RLIM_INFINITY and soft <= has + BYTES:
        return None
    resource.setrlimit(resource.RLIMIT_AS, (has + BYTES, hard))
    return soft, hard


def _out_of_time(*_: object) -> None:
    raise TooMuch(f"takes longer than {SECONDS:g} s")
