"""Between the command of a sweep and the processes in which a launcher runs its points: each learns how the other is.

The command asks them to end by a file in the results folder, which all of them can see; where it is gone itself, they
end too. What a scheduler runs (a job of Slurm) is the scheduler's, and goes on to its own end (`slurm_job`).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from harness.launch.in_use import wait_until_free
from harness.launch.interrupts import ctrl_c_alone, interrupt, listen, passed_on
from harness.launch.slurm_job import end_if_it_runs_again
from harness.launch.worker import LAST_SECONDS
from harness.results.folder import RunFolder

COMMAND = "HARNESS_COMMAND"
"""Environment variable: the command's host and process, and the file by which it asks for an end."""
INTERVAL = 0.5
"""Seconds between two looks."""


@contextmanager
def asking(results: Path, folders: Sequence[RunFolder], scheduled: bool = False) -> Iterator[None]:
    """While a launcher runs points in the block: ask their processes to end when this one is asked to, and wait for
    those that are in one of the run's `folders`; not where they are jobs that a scheduler runs (`scheduled`), which go
    on. Raises KeyboardInterrupt then."""
    file = results.absolute() / f".stop-{socket.gethostname()}-{os.getpid()}"
    os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")  # which ends this process with a dump of its stack
    os.environ[COMMAND] = f"{socket.gethostname()} {os.getpid()} {file}"
    try:
        with ctrl_c_alone(), passed_on(interrupt if scheduled else file.touch, interrupt):
            yield
    except (KeyboardInterrupt, SystemExit):  # the latter of a launcher that listens to signals itself
        if scheduled:
            print("its jobs go on; the same command waits for them, and scancel ends them", file=sys.stderr)
            raise KeyboardInterrupt from None
        file.touch()
        deadline = time.monotonic() + LAST_SECONDS
        for folder in folders:
            if folder.log.exists():  # its checkpoint is being written
                wait_until_free(folder, lambda: time.monotonic() > deadline)
        raise KeyboardInterrupt from None
    finally:
        file.unlink(missing_ok=True)


def attend(stop: Callable[[], None], idle: Callable[[], bool], close: Callable[[], None]) -> Callable[[], None]:
    """In a launcher's process, once: have `stop` called when the command wants an end or is gone, or when this process
    itself is asked to end. Where the command is gone, the process ends when it is `idle`, after `close`.

    Returns what to call when a point was interrupted; in a job of Slurm that runs again it does not come back."""
    requeue = signal.getsignal(signal.SIGUSR2)  # submitit's own handler, if this is one of its jobs
    listen(stop, stop)
    if "SLURM_JOB_ID" in os.environ:
        return lambda: end_if_it_runs_again(requeue)
    host, _, rest = os.environ.get(COMMAND, "").partition(" ")
    process, _, file = rest.partition(" ")
    if host != socket.gethostname():
        return _nothing

    def watch() -> None:
        while not Path(file).exists() and _alive(int(process)):
            time.sleep(INTERVAL)
        stop()
        while _alive(int(process)) or not idle():
            time.sleep(INTERVAL)
        close()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    return _nothing


def _nothing() -> None:
    """Nothing is to be done."""


def _alive(process: int) -> bool:
    """A process of that number runs, and has not just not been waited for."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:  # another user's, or one that cannot be looked at
        return True
