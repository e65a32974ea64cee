"""One point from its settings to its record: skip it if it is done, else run it in a process of its own."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from harness.config import RunSettings, settings_from
from harness.errors import UserError
from harness.results import Record, finished, read_record, run_folder, write_atomically, write_record
from harness.worker import Worker, WorkerEnded

_worker: Worker | None = None


def run_point(config: DictConfig) -> Record:
    """The record of a composed configuration: the one there is if it is ok, else a new one, whatever its status.

    Raises UserError for what can be told before anything is loaded, KeyboardInterrupt when the user ends it.
    """
    settings = settings_from(config)
    run = settings.run_id()
    results = Path(settings.results)
    if not settings.force and (record := finished(results, run)):
        return record
    folder = run_folder(results, run)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        with _held(lock, run):
            # Another sweep may have done it while this one waited.
            if not settings.force and (record := finished(results, run)):
                return record
            return _run(config, settings, run, folder)
    except OSError as error:
        why = error.strerror or error
        raise UserError(
            f"results={settings.results}: cannot be written ({why}); free space, or choose another folder"
        ) from None


def _held(lock: FileLock, run: str) -> Any:
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"{run}: another process is running this point; waiting for it", flush=True)
        return lock.acquire()


def _run(config: DictConfig, settings: RunSettings, run: str, folder: Path) -> Record:
    global _worker  # one worker serves every point of this process
    if _worker is None:
        _worker = Worker()
    path = folder / "record.json"
    if settings.force:
        (folder / "checkpoint.pt").unlink(missing_ok=True)
    (folder / "plan.json").unlink(missing_ok=True)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    content.pop("hydra", None)
    write_atomically(folder / "config.json", json.dumps(content, indent=1) + "\n")
    code: int | None = 0
    try:
        for kind in ("plan", "base", "run"):
            job = {"kind": kind, "config": content, "run": run, "folder": str(folder)}
            code = _worker.run(job, settings.train.time_limit)
            if code != 0 and (kind != "plan" or _written(path, began)):
                break
    except WorkerEnded as ended:
        _worker = None
        code = ended.code
        if code >= 0:  # it could not start: no run can, and its traceback has said why
            raise UserError(f"the worker process ended with code {code}; see what it printed above") from None
    if record := _written(path, began):
        return record
    # The process ended without a record of its own: it was killed, or its disk is full.
    if code is None:
        status, cause = "timeout", "did not end by itself after train.time_limit and was killed"
    elif code < 0:
        name = signal.Signals(-code).name
        status = "error"
        cause = f"the run's process was ended by {name}; SIGKILL often means that memory ran out. Run again to go on"
    else:
        status, cause = "error", f"the run's process ended with code {code}; see {folder / 'log.txt'}"
    record = Record(
        id=run,
        key=settings.key(),
        status=status,
        cause=cause,
        started=began,
        model_description=settings.model.describe(),
        method=settings.method.name,
        label=settings.label(),
        step=_step(folder),
    )
    write_record(Path(settings.results), record)
    return record


def _written(path: Path, began: str) -> Record | None:
    """The record that this run's process wrote, if it did."""
    if not path.exists():
        return None
    record = read_record(path)
    return record if record.started >= began else None


def _step(folder: Path) -> int | None:
    """The step that the run had reached, as it last said."""
    try:
        step = json.loads((folder / "progress.json").read_text()).get("step")
    except (OSError, ValueError):
        return None
    return None if step is None else int(step)


def close() -> None:
    """End this process's worker, if it started one."""
    global _worker
    if _worker is not None:
        _worker.close()
        _worker = None
