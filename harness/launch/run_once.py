"""One point from its settings to its record: skip it if it is done, else run it in a process of its own."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from harness.config.run_settings import RunSettings
from harness.config.validate import settings_from
from harness.errors import UserError
from harness.files import write_atomically
from harness.host.environment import resolve_device
from harness.host.gpus import others, taken
from harness.host.out_of_memory import held, kernel_kills
from harness.launch.in_use import wait_until_free
from harness.launch.interrupts import passed_on
from harness.launch.launcher_process import COMMAND, attend
from harness.launch.worker import Ended, Worker, WorkerEnded
from harness.memory.forecast import Forecast
from harness.notices import say
from harness.results.checksums import unseal
from harness.results.folder import RunFolder, finished_record, read_record, write_record
from harness.results.record import Record, Status
from harness.results.sections import Memory
from harness.run.record import failed_record

TRIED: tuple[Status, ...] = ("ok", "diverged")
"""Statuses with which a trial is over: one that diverged says of a rate what there is to know."""

Row = list[str]
"""The overrides of a point."""

_workers: dict[int, Worker] = {}
"""By thread: the one that serves every point of it."""

command: int | None = None
"""The process of the command line; None, or another one, in a launcher's."""

_busy = threading.Lock()
"""Held by a launcher's process while it runs a point."""

_stopped = threading.Event()
"""Set to end the points of every thread; KeyboardInterrupt reaches the main thread alone."""


def run_point(config: DictConfig) -> Record:
    """The record of a composed configuration: the one there is if it is ok, else a new one, whatever its status.

    Raises UserError for what can be told before anything is loaded, KeyboardInterrupt when the user ends it.
    """
    settings = settings_from(config)
    run = settings.run_id()
    results = Path(settings.results)
    if record := done_before(settings, run):
        return record
    folder = RunFolder.of(results, run)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.lock)
        with _held(lock, run):
            if not wait_until_free(folder, _stopped.is_set):  # a process may outlive its sweep
                raise KeyboardInterrupt
            # Another sweep may have done it while this one waited.
            if record := done_before(settings, run):
                return record
            _sweep_up(folder)
            return _run(config, settings, run, folder)
    except OSError as error:
        why = error.strerror or error
        raise UserError(
            f"results={settings.results}: cannot be written ({why}); free space, or choose another folder"
        ) from None


def done_before(settings: RunSettings, run: str) -> Record | None:
    """The record that makes a run of these settings needless. A trial is done where it came as far as it is asked to,
    or diverged on the way."""
    if settings.force:
        return None
    if settings.trial is None:
        return finished_record(Path(settings.results), run)
    record = finished_record(Path(settings.results), run, TRIED)
    if record is None or record.status == "diverged" or record.trial is None:
        return record
    return record if {settings.trial[-1], settings.train.steps} & {rung.step for rung in record.trial.rungs} else None


def _held(lock: FileLock, run: str) -> Any:
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        say(f"{run}: another process is running this point; waiting for it")
    while not _stopped.is_set():
        with contextlib.suppress(Timeout):
            return lock.acquire(timeout=1)
    raise KeyboardInterrupt


def _sweep_up(folder: RunFolder) -> None:
    """Take away what processes that were killed while they wrote have left."""
    for pattern in ("*.partial", ".*.*"):
        for left in folder.path.glob(pattern):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def _run(config: DictConfig, settings: RunSettings, run: str, folder: RunFolder) -> Record:
    path = folder.record
    if settings.force:
        folder.checkpoint.unlink(missing_ok=True)
    folder.plan.unlink(missing_ok=True)
    unseal(folder.path)  # of the run that this one replaces
    began, before = datetime.now(UTC).isoformat(timespec="seconds"), _identity(path)
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    content.pop("hydra", None)
    write_atomically(folder.config, json.dumps(content, indent=1) + "\n")
    job: dict[str, Any] = {"config": content, "run": run, "folder": str(folder.path), "notices": []}
    on_gpu = resolve_device(settings.device) == "cuda"
    worker = _worker()  # it starts while a GPU is waited for
    with taken(_stopped.is_set) if on_gpu else contextlib.nullcontext() as gpu:
        job |= {"gpu": gpu and gpu.device, "warnings": others(gpu) if gpu else []}
        with passed_on(worker.stop, worker.kill):
            ended = _ended(worker, job, settings.train.time_limit, _kinds(settings))
    if (now := _identity(path)) is not None and now != before:  # this run's process wrote it
        return read_record(path)
    # The process ended without a record of its own: it was killed, or its disk is full.
    status: Status = "error"
    if ended.code is None:
        status, cause = "timeout", "did not end by itself after train.time_limit and was killed"
    elif ended.out_of_memory:
        status = "oom"
        cause = f"the kernel ended the run's process, since memory ran out{held(ended.peak_rss, None)}"
    elif ended.code < 0:
        name = signal.Signals(-ended.code).name
        often = "" if kernel_kills() is not None else "; SIGKILL often means that memory ran out"
        cause = f"the run's process was ended by {name}{often}. Run again to go on"
    else:
        cause = f"the run's process ended with code {ended.code}; see {folder.log}"
    known: dict[str, Any] = {"started": began, "step": _step(folder), "warnings": job["warnings"] + job["notices"]}
    known["planned"] = Forecast.read(folder.plan).planned
    if ended.peak_rss is None:
        known["null_reasons"] = {"memory": "the process that could have told of it has ended too"}
    else:
        known["memory"] = Memory(process_peak_rss=ended.peak_rss)
    record = failed_record(settings, run, status, cause, **known)
    write_record(Path(settings.results), record)
    return record


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from another one of its name, written before or after it: a clock may step back, so that the
    later one is not told by its time. None where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _worker() -> Worker:
    """This thread's worker. Raises KeyboardInterrupt where it is to do nothing more."""
    worker = _workers.get(threading.get_ident())
    if worker is None:
        worker = _workers[threading.get_ident()] = Worker()
    if _stopped.is_set():
        raise KeyboardInterrupt
    return worker


def _kinds(settings: RunSettings) -> list[str]:
    """The jobs of a point: its plan, the base, where that has not been measured, and the run. Of a trial nothing but
    itself, and its plan where it must keep within a budget."""
    if settings.trial is None:
        return ["plan", "base", "run"]
    return ["run"] if settings.budget is None else ["plan", "run"]


def _ended(worker: Worker, job: dict[str, Any], time_limit: float | None, kinds: Sequence[str]) -> Ended:
    """How a point has ended, whose jobs are of these kinds."""
    ended = Ended(0)
    try:
        for kind in kinds:
            ended = worker.run(job | {"kind": kind}, time_limit)
            killed = ended.code is not None and ended.code < 0
            if ended.code != 0 and not (kind == "plan" and killed):  # a run without a plan may do well
                break
    except WorkerEnded as end:
        _workers.pop(threading.get_ident(), None)
        ended = end.ended
        if ended.code is not None and ended.code >= 0:  # it could not start: no run can, and its traceback has said why
            raise UserError(f"the worker process ended with code {ended.code}; see what it printed above") from None
    return ended


def _step(folder: RunFolder) -> int | None:
    """The step that the run had reached, as it last said."""
    try:
        step = json.loads(folder.progress.read_text()).get("step")
    except (OSError, ValueError):
        return None
    return None if step is None else int(step)


def outcome(config: DictConfig) -> dict[str, Any]:
    """What a sweep wants to know of a point that it has run: id, status, and what the user can put right."""
    launched = COMMAND in os.environ and command != os.getpid()
    interrupted = _attend() if launched else None
    try:
        with _busy if launched else contextlib.nullcontext():
            record = run_point(config)
    except UserError as error:
        return {"status": "error", "problems": list(error.problems)}
    except KeyboardInterrupt:
        if interrupted is None:
            raise
        interrupted()
        # A launcher's process tells the sweep, which ends as if it had been asked itself.
        return {"status": "interrupted", "problems": []}
    return {"id": record.id, "status": record.status, "problems": []}


@functools.cache
def _attend() -> Callable[[], None]:
    """In a launcher's process: end when the sweep does. Returns what to call when a point was interrupted."""
    return attend(_stop, lambda: not _busy.locked(), close)


def _stop() -> None:
    """End the points of every thread, and begin no other."""
    _stopped.set()
    for worker in list(_workers.values()):
        worker.stop()


def run_at_once(rows: Sequence[Row], compose: Callable[[Row], DictConfig], count: int) -> list[dict[str, Any]]:
    """The outcomes of a sweep's points, `count` of them at a time, each in a thread with a worker of its own.

    Raises KeyboardInterrupt when the user ends it, after every run has been told and has ended.
    """
    _stopped.clear()
    composing = threading.Lock()  # of Hydra's, one at a time

    def one(row: Row) -> dict[str, Any]:
        with composing:
            config = compose(row)
        return outcome(config)

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(one, row) for row in rows]
        try:
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            _stop()
            raise


def close_own() -> None:
    """End this thread's worker, if it started one."""
    if (worker := _workers.pop(threading.get_ident(), None)) is not None:
        worker.close()


def close() -> None:
    """End this process's workers, if it started any."""
    while _workers:
        _workers.popitem()[1].close()
