"""Each run in a process of its own, without paying for imports and the base's load again.

A worker imports torch once, loads the base once, and forks a child for each job of a run (its plan, its base's
scores, itself): the child has the libraries and the base's pages from the start, and what it does to its memory is its
own. The worker itself computes on one thread only, because OpenMP threads do not survive a fork, and never touches a
GPU, because CUDA does not either: where there is one, what starts CUDA when it is imported (bitsandbytes, and so PEFT)
is left to the child.

`multiprocessing`'s fork server was not enough: it cannot hold a loaded base, and its children outlive a killed sweep.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.host.environment import VERSIONS, versions
from harness.host.out_of_memory import kernel_kills
from harness.host.own_code import OWN_CODE, handed_on
from harness.notices import say

GRACE = 60.0
"""Seconds after a run's time limit in which it may end by itself; then it is killed."""

SURROUNDINGS = {"TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""What keeps warnings and bars of libraries out of the live view, and CUDA from being started to see whether it is
there."""

LAST_SECONDS = 30.0
"""In which a run whose sweep is gone may still write its checkpoint."""

LONGEST = 3000
"""Letters of a line to the parent: less than a pipe takes at once, whoever else writes."""


@dataclass(frozen=True)
class Ended:
    """How the process of a job ended."""

    code: int | None
    """Its exit code, negative for the signal that ended it; None: killed for being over its time."""
    peak_rss: int | None = None
    """Its highest resident set in bytes, since it last set the peak back; None where nobody is left to tell."""
    out_of_memory: bool = False
    """The kernel ended it because memory ran out."""


class Worker:
    """The parent's side: start it once, then `run` one job after another."""

    def __init__(self) -> None:
        # The child's end of the lifeline reads end-of-file when this process is gone, however it went.
        lifeline, self._alive = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.launch.server", str(lifeline)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(lifeline,),
            text=True,
            env=os.environ | SURROUNDINGS | {"PYTHONPATH": _with_this_package()} | _as_it_was(),
        )
        os.close(lifeline)
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        """Queue the worker's answers, and an empty one when it is gone."""
        assert self._process.stdout
        for line in self._process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put({})

    def run(self, job: dict[str, Any], time_limit: float | None) -> Ended:
        """Do one job; its notices are printed, and kept that are to be. What ends this process is passed on to it,
        and raised again when it has ended: KeyboardInterrupt, or a launcher's SystemExit. Raises WorkerEnded."""
        kills = kernel_kills()
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerEnded(Ended(self._process.wait())) from None
        deadline = None if time_limit is None else time.monotonic() + time_limit + GRACE
        child: int | None = None
        leaving: BaseException | None = None
        killed = False
        while True:
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                answer = self._answers.get(timeout=left)
                if not answer:
                    _signal(child, signal.SIGKILL)
                    code = self._process.wait()
                    if leaving:
                        raise leaving
                    raise WorkerEnded(Ended(code, out_of_memory=_by_kernel(code, kills)))
                if "exit" in answer:
                    break
                if "stop" in answer:
                    leaving = leaving or KeyboardInterrupt()
                    _signal(child, answer["stop"])
                elif "say" in answer:
                    say(answer["say"])
                    job["notices"] += [answer["say"]] if answer["kept"] else []
                else:
                    child = answer["pid"]
                    if leaving:  # before there was a process to tell
                        _signal(child, signal.SIGINT)
            except queue.Empty:
                killed, deadline = True, None
                _signal(child, signal.SIGKILL)
            except (KeyboardInterrupt, SystemExit) as error:
                leaving = leaving or error
                _signal(child, signal.SIGINT)
        if leaving:
            raise leaving
        if killed:
            return Ended(None, answer["peak"])
        return Ended(answer["exit"], answer["peak"], _by_kernel(answer["exit"], kills))

    def stop(self) -> None:
        """Treat the job, or the next one, as if KeyboardInterrupt had come; from any thread or signal handler."""
        self._answers.put({"stop": signal.SIGINT})

    def kill(self) -> None:
        """The same, but end its process at once."""
        self._answers.put({"stop": signal.SIGKILL})

    def close(self) -> None:
        """End the worker, and the run that it may still have."""
        os.close(self._alive)
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class WorkerEnded(Exception):
    """The worker is gone; `ended` says how."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(ended)
        self.ended = ended


def _by_kernel(code: int, before: int | None) -> bool:
    """A process that ended with `code` was ended by the kernel, which had ended `before` processes when it began."""
    now = kernel_kills()
    return code == -signal.SIGKILL and before is not None and now is not None and now > before


def _signal(process: int | None, number: int) -> None:
    """Send a signal to a process, if it has started and not ended yet."""
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _as_it_was() -> dict[str, str]:
    """The environment that tells the worker which code this process began with."""
    return {VERSIONS: json.dumps(versions()), OWN_CODE: handed_on()}


def _with_this_package() -> str:
    """PYTHONPATH by which the worker finds this package wherever it is started."""
    root = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
