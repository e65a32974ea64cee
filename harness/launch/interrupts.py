"""What asks a command to end: Ctrl-C, a scheduler's notice, a terminal that closes. All end it in the same way.

The first one counts. Those that come right after it (a terminal and a scheduler may signal a whole group, and people
press Ctrl-C until they see something) change nothing, so that a run has time for its checkpoint; a later one ends it at
once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""The last two are what jobs of Slurm are told by, all their processes, that their time is nearly up."""
PATIENCE = 2.0
"""Seconds after the first signal in which others are taken for the same one."""
FORGOTTEN = 60.0
"""Seconds after which a signal is a first one again."""


def listened() -> list[signal.Signals]:
    """Those to listen to: SIGHUP not under nohup, which has it ignored."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in SIGNALS if not (ignored and number == signal.SIGHUP)]


_since: float | None = None
"""When the first signal of a series came, in this process."""


class _Handler:
    """Calls `first` for the first signal of a series, and `again` for one that comes PATIENCE after it or later."""

    def __init__(self, first: Callable[[], None], again: Callable[[], None]) -> None:
        self.first, self.again = first, again
        self.called = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        global _since
        now = time.monotonic()
        if _since is None or now - _since > FORGOTTEN:
            _since, self.called = now, True
            self.first()
        elif now - _since >= PATIENCE:
            self.called = True
            self.again()


def interrupt() -> None:
    """Raise KeyboardInterrupt."""
    raise KeyboardInterrupt


def raise_once() -> None:
    """Have them raise KeyboardInterrupt in the main thread, as Ctrl-C does, but not again right after it."""
    listen(interrupt, interrupt)


@contextmanager
def passed_on(stop: Callable[[], None], kill: Callable[[], None]) -> Iterator[None]:
    """While the block lasts, they call `stop` and interrupt nothing, a late one `kill`; KeyboardInterrupt comes when it
    is over. For the main thread, which alone is told of signals; in another one nothing is changed.

    Whatever else handles these signals here, such as a launcher that would carry on, does so again afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = _Handler(stop, kill)
    before = {number: signal.getsignal(number) for number in listened()}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    except Exception:
        if handler.called:  # whatever it is that an ending launcher raises
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, own in before.items():
            signal.signal(number, own if own is not None else signal.SIG_DFL)
    if handler.called:
        raise KeyboardInterrupt


def listen(stop: Callable[[], None], kill: Callable[[], None]) -> None:
    """From now on they call `stop`, a late one `kill`, where this is the main thread."""
    if threading.current_thread() is threading.main_thread():
        handler = _Handler(stop, kill)
        for number in listened():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def ctrl_c_alone() -> Iterator[None]:
    """While the block lasts, Ctrl-C reaches this process alone, as SIGTERM, and no process that is started in it: a
    terminal signals all of them, and those of a launcher would end with tracebacks."""
    over = threading.Event()

    def wait() -> None:
        while not over.is_set():
            if signal.sigtimedwait([signal.SIGINT], 0.1) is not None:
                os.kill(os.getpid(), signal.SIGTERM)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # which processes and threads inherit
    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    try:
        yield
    finally:
        over.set()
        waiting.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
