"""The process that holds the base model and forks a child for each job."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.host.gpus import VISIBLE
from harness.launch.in_use import in_use
from harness.launch.interrupts import SIGNALS, listened
from harness.launch.job import settings_of
from harness.launch.worker import LAST_SECONDS, LONGEST
from harness.notices import redirect
from harness.quiet import loud, quiet
from harness.results.folder import RunFolder


def serve(lifeline: int) -> None:
    """The worker's side: fork a child for each job that comes on standard input, and say how it ended."""
    # Blocked, not ignored: a signal that comes while a child is not ready yet waits for it. A terminal or a scheduler
    # may signal the whole group, and this process has to stay until its child has written its checkpoint.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not be read as an answer

    def answer(content: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody is left to read it
            print(json.dumps(content), file=answers, flush=True)

    redirect(lambda line, kept: answer({"say": line[:LONGEST], "kept": kept}))
    quiet()
    preload()
    bases = Bases()
    for line in sys.stdin:
        job = json.loads(line)
        base: Any
        try:
            base = None if job["kind"] == "plan" else bases.get(job)
        except Exception as error:  # told to the child, which records it as the run's own failure
            base = error
        pid = os.fork()
        if pid == 0:
            os._exit(child(job, base, lifeline))
        answer({"pid": pid})
        _, status, used = os.wait4(pid, 0)
        peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # man 2 getrusage: bytes there, else KiB
        answer({"exit": os.waitstatus_to_exitcode(status), "peak": peak})


def preload() -> None:
    """Import here what a process that forks may import, so that no child has to. CUDA is not started."""
    gc.disable()  # looking for garbage among what is only just made takes a quarter of the time
    import accelerate  # noqa: F401
    import torch
    import transformers.utils.logging as chatter

    import harness.launch.job
    import harness.memory.planner  # noqa: F401
    from harness.host.environment import gpu_name

    if gpu_name() is None:
        import peft  # noqa: F401
    chatter.disable_progress_bar()  # type: ignore[no-untyped-call]  # its bars would run through the live view
    torch.set_num_threads(1)
    gc.enable()
    gc.freeze()  # no child looks through it again, or copies its pages by doing so (docs.python.org: gc.freeze)


class Bases:
    """The base model loaded last, kept on the CPU for all runs that share it."""

    def __init__(self) -> None:
        self._key: str | None = None
        self._base: Any = None

    def get(self, job: dict[str, Any]) -> Any:
        """The base of a job, or None where the child has to load it itself: quantizing needs threads or a GPU."""
        from harness.host.environment import resolve_device
        from harness.prepare.base_model import load_base

        settings = settings_of(job)
        if settings.quantization.kind != "none":
            return None
        # It is loaded on the CPU, but computes as the run's device does.
        attention = settings.model.attention_for(resolve_device(settings.device))
        model = settings.model.model_copy(update={"attention": attention})
        cpu = settings.model_copy(update={"device": "cpu", "dtype": settings.precision, "model": model})
        key = json.dumps(
            [
                settings.model.identity(),
                settings.model.attention,
                settings.precision,
                settings.device,
                settings.data.head_classes,
            ]
        )
        if key != self._key:
            self._base, self._key = None, None
            self._base, self._key = load_base(cpu), key
        return self._base


class Stop:
    """Whether a job is to end. No `threading.Event`: a second signal (one is the terminal's, one the sweep passes on)
    may come while the handler of the first holds its lock, and the run would wait for itself for ever."""

    _asked = False

    def set(self) -> None:
        """Ask for it, from any thread or signal handler."""
        self._asked = True

    def is_set(self) -> bool:
        """It was asked for."""
        return self._asked


def child(job: dict[str, Any], base: Any, lifeline: int) -> int:
    """One job in the process forked for it. Returns the exit code: 0 done, 1 failed and recorded, 2 a user error."""
    stop = Stop()
    for number in listened():
        signal.signal(number, lambda *_: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_end_with_parent, args=(lifeline, stop), daemon=True).start()
    folder = RunFolder(Path(job["folder"]))
    _busy = in_use(folder)  # held until this process ends, however it does
    log = folder.log.open("a", buffering=1)
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    loud()
    if job["gpu"] is not None:
        os.environ[VISIBLE] = job["gpu"]
        print(f"{datetime.now(UTC).isoformat()}: {job['kind']} with {VISIBLE}={job['gpu']}")
    try:
        from harness.launch.job import do

        return do(settings_of(job), job, base, stop.is_set)
    except BaseException:  # the last resort of this process: whatever it is, it goes to the log
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _end_with_parent(lifeline: int, stop: Stop) -> None:
    """When the sweep is gone, end as if it had asked for it."""
    os.read(lifeline, 1)
    stop.set()
    time.sleep(LAST_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
