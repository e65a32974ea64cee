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
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.environment import VERSIONS, versions
from harness.errors import UserError, first_line
from harness.gpus import VISIBLE
from harness.oom import held, kernel_kills

if TYPE_CHECKING:
    from harness.config import RunSettings

GRACE = 60.0
"""Seconds after a run's time limit in which it may end by itself; then it is killed."""

SURROUNDINGS = {"TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""What keeps warnings and bars of libraries out of the live view, and CUDA from being started to see whether it is
there."""

OUT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""In messages of a RuntimeError that means it: of the CPU's allocator, the CUDA driver, cuBLAS."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What asks a run to end."""


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
            [sys.executable, "-m", "harness.worker", str(lifeline)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(lifeline,),
            text=True,
            env=os.environ | SURROUNDINGS | {"PYTHONPATH": _with_this_package(), VERSIONS: json.dumps(versions())},
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
        """Do one job. KeyboardInterrupt is passed on to it and raised again when it has ended. Raises WorkerEnded."""
        kills = kernel_kills()
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerEnded(Ended(self._process.wait())) from None
        deadline = None if time_limit is None else time.monotonic() + time_limit + GRACE
        child: int | None = None
        interrupted = killed = False
        while True:
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                answer = self._answers.get(timeout=left)
                if not answer:
                    _signal(child, signal.SIGKILL)
                    code = self._process.wait()
                    if interrupted:
                        raise KeyboardInterrupt
                    raise WorkerEnded(Ended(code, out_of_memory=_by_kernel(code, kills)))
                if "exit" in answer:
                    break
                if "stop" in answer:
                    interrupted = True
                    _signal(child, signal.SIGINT)
                    continue
                child = answer["pid"]
                if interrupted:  # before there was a process to tell
                    _signal(child, signal.SIGINT)
            except queue.Empty:
                killed, deadline = True, None
                _signal(child, signal.SIGKILL)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                _signal(child, signal.SIGINT)
        if interrupted:
            raise KeyboardInterrupt
        if killed:
            return Ended(None, answer["peak"])
        return Ended(answer["exit"], answer["peak"], _by_kernel(answer["exit"], kills))

    def stop(self) -> None:
        """Treat the job, or the next one, as if KeyboardInterrupt had come; from any thread."""
        self._answers.put({"stop": True})

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


def _with_this_package() -> str:
    """PYTHONPATH by which the worker finds this package wherever it is started."""
    root = str(Path(__file__).parent.parent)
    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))


def serve(lifeline: int) -> None:
    """The worker's side: fork a child for each job that comes on standard input, and say how it ended."""
    # Blocked, not ignored: a signal that comes while a child is not ready yet waits for it. A terminal or a scheduler
    # may signal the whole group, and this process has to stay until its child has written its checkpoint.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not be read as an answer
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
        print(json.dumps({"pid": pid}), file=answers, flush=True)
        _, status, used = os.wait4(pid, 0)
        peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # man 2 getrusage: bytes there, else KiB
        answer = {"exit": os.waitstatus_to_exitcode(status), "peak": peak}
        print(json.dumps(answer), file=answers, flush=True)


def preload() -> None:
    """Import here what a process that forks may import, so that no child has to. CUDA is not started."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it misses an optional package, at every import
    import accelerate  # noqa: F401
    import torch
    import transformers.utils.logging as chatter

    import harness.planning
    import harness.run  # noqa: F401
    from harness.environment import gpu_name

    if gpu_name() is None:
        import peft  # noqa: F401
    chatter.disable_progress_bar()  # type: ignore[no-untyped-call]  # its bars would run through the live view
    torch.set_num_threads(1)


class Bases:
    """The base model loaded last, kept on the CPU for all runs that share it."""

    def __init__(self) -> None:
        self._key: str | None = None
        self._base: Any = None

    def get(self, job: dict[str, Any]) -> Any:
        """The base of a job, or None where the child has to load it itself: quantizing needs threads or a GPU."""
        from harness.environment import resolve_device
        from harness.task import load_base

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


def settings_of(job: dict[str, Any]) -> RunSettings:
    """The typed settings that a job carries."""
    from omegaconf import OmegaConf

    from harness.config import settings_from

    return settings_from(OmegaConf.create(job["config"]))


def child(job: dict[str, Any], base: Any, lifeline: int) -> int:
    """One job in the process forked for it. Returns the exit code: 0 done, 1 failed and recorded, 2 a user error."""
    stop = threading.Event()
    for number in SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    folder = Path(job["folder"])
    log = (folder / "log.txt").open("a", buffering=1)
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    if job["gpu"] is not None:
        os.environ[VISIBLE] = job["gpu"]
        print(f"{datetime.now(UTC).isoformat()}: {job['kind']} with {VISIBLE}={job['gpu']}")
    try:
        return _do(job, base, stop.is_set)
    except BaseException:  # the last resort of this process: whatever it is, it goes to the log
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _die_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


def _do(job: dict[str, Any], base: Any, stopped: Callable[[], bool]) -> int:
    import torch

    from harness import run as runner
    from harness.base import measure_base
    from harness.environment import resolve_device, usable_cores
    from harness.errors import NotFinite
    from harness.fit import Forecast, predict, too_much
    from harness.measure.memory import reached
    from harness.progress import ProgressFile
    from harness.results import Record, write_record
    from harness.sections import Memory
    from harness.task import load_base
    from harness.train import RunEnded

    settings, folder = settings_of(job), Path(job["folder"])
    torch.set_num_threads(settings.threads or usable_cores())
    watch = runner.Watch(ProgressFile(folder).write, stopped, settings.train.time_limit)
    watch.warnings += job["warnings"]

    def failed(status: str, cause: str, step: int | None, user_error: bool = False) -> int:
        fields = runner.base_record(settings, job["run"]) | {"user_error": user_error, "warnings": watch.warnings}
        if status == "oom":
            rss, cuda = reached()
            cause += held(rss, cuda)
            fields["memory"] = Memory(process_peak_rss=rss, oom_cuda_allocated=cuda)
        fields |= {"planned": Forecast.read(folder).planned, "seconds": watch.seconds} | watch.measured
        write_record(Path(settings.results), Record(**fields, status=status, cause=cause, step=step))
        return 2 if user_error else 1

    try:
        if isinstance(base, Exception):
            raise base
        if job["kind"] == "plan":
            with watch.phase("plan"):
                made = predict(settings)
                made.write(folder)
            if end := watch.ended():
                raise end
            if made.planned and (why := too_much(settings, made.planned)):
                raise RunEnded("skipped", why)
            return 0
        if base is None:
            with watch.phase("load"):
                base = load_base(settings)
        elif resolve_device(settings.device) == "cuda":
            with watch.phase("load"):
                base = (base[0].to("cuda"), base[1])
        if job["kind"] == "base":
            measure_base(settings, base, watch)
        else:
            write_record(Path(settings.results), runner.execute(settings, job["run"], base, watch))
    except RunEnded as end:
        return failed(end.status, end.cause, end.step)
    except NotFinite as error:
        if job["kind"] == "run" and settings.method.trains:
            return failed("diverged", str(error), watch.step)
        base_too = f"the base model, which nothing has trained: {error}; check its weights, or try dtype=fp32"
        return failed("error", base_too, watch.step, user_error=True)
    except UserError as error:
        return failed("error", "; ".join(error.problems), watch.step, user_error=True)
    except (MemoryError, torch.OutOfMemoryError) as error:
        return failed("oom", first_line(error), watch.step)
    except OSError as error:
        # A full disk or a folder that cannot be written to: there may be no record of it.
        return failed("error", f"{error}; free space or choose another results folder", watch.step, user_error=True)
    except Exception as error:  # recorded, and raised
        full = any(text in str(error) for text in OUT_OF_MEMORY)
        failed("oom" if full else "error", f"{type(error).__name__}: {first_line(error)}", watch.step)
        raise
    return 0


if __name__ == "__main__":
    import harness.worker

    harness.worker.serve(int(sys.argv[1]))
