"""Records of runs: ids, schema, and the only writer of results. Imports neither torch nor Hydra.

A results folder holds

    runs/<run id>/record.json        the record, written whole or not at all
    runs/<run id>/config.json        the configuration that it ran with, for what is done with it later
    runs/<run id>/predictions.jsonl  one line an example: index, prediction, bleu (statistics), ...
    runs/<run id>/typos.jsonl        the same with typing errors in the inputs, where `eval.typos` says so
    runs/<run id>/paraphrase_1.jsonl the same in the first template of `eval.paraphrases`, and so on
    runs/<run id>/panel.jsonl        one line an item of the panel: answers before and after, and whether they are right
    runs/<run id>/curve.jsonl        one line a logged step
    runs/<run id>/ledger.json        the ten largest tensors of each phase's peak: owner, bytes, module, shape
    runs/<run id>/lm_eval.jsonl      one line an example of lm-evaluation-harness, where its tasks are named
    runs/<run id>/adapter/           the trained adapter
    runs/<run id>/model/             the trained model, its adapter merged, where `keep_model` says so
    runs/<run id>/log.txt            what the run's process printed
    runs/<run id>/SHA256SUMS         checksums of all these but the log and the model, once the run is done
    trials/<trial id>/               the same of a trial of tuning: record, configuration, log
    sweeps/<name>.<hash>.json        runs that were asked for under a sweep's name (harness/results/sweep_files.py)
    sequences/<name>.json            what `python -m harness sequence` found
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import UserError
from harness.files import hash_of, read_regular, write_atomically
from harness.notices import say
from harness.results.checksums import changed, unseal
from harness.results.record import SCHEMA, Record, Status, finite_record
from harness.texts import from_json

TRIAL = "trial-"
"""Beginning of a trial's id, by which it lies in a folder of its own: `trials/` beside `runs/`."""
MODEL = "model"
"""Name of the folder in which a run keeps its trained model."""


class _File:
    """A file of a run's folder."""

    def __init__(self, name: str, doc: str) -> None:
        self.name, self.__doc__ = name, doc

    def __get__(self, folder: RunFolder, kind: type) -> Path:
        return folder.path / self.name


class UnreadableRecord(UserError):
    """A record that is truncated, not JSON, or of another schema. `newer`: written by a later version."""

    def __init__(self, problem: str, newer: bool) -> None:
        super().__init__(problem)
        self.newer = newer


def run_id(method: str, key: dict[str, Any]) -> str:
    """The id under which a run of this key is recorded."""
    return f"{method}-{hash_of(key)[:12]}"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, and every file in it by its name."""

    path: Path

    @staticmethod
    def of(results: Path, run: str) -> RunFolder:
        """The folder of a run, or of a trial, of this id."""
        return RunFolder(results / ("trials" if run.startswith(TRIAL) else "runs") / run)

    @staticmethod
    def all_of(results: Path) -> list[RunFolder]:
        """The folders of every run of a results folder, by name."""
        return [RunFolder(path) for path in sorted((results / "runs").glob("*")) if path.is_dir()]

    @property
    def run(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def results(self) -> Path:
        """The results folder that it lies in."""
        return self.path.parent.parent

    def lines(self, name: str) -> Path:
        """Predictions on the test examples as they are read otherwise: `typos`, `paraphrase_1`."""
        return self.path / f"{name}.jsonl"

    record = _File("record.json", "What the run measured; written last.")
    config = _File("config.json", "The composed configuration, from which the run can be repeated.")
    adapter = _File("adapter", "Folder of what the method trained.")
    model = _File("model", "Folder of the whole trained model, where `keep_model` asks for it.")
    predictions = _File("predictions.jsonl", "A line for each test example.")
    panel = _File("panel.jsonl", "A line for each item of the panel: answers before and after training.")
    lm_eval = _File("lm_eval.jsonl", "A line for each example of lm-evaluation-harness.")
    curve = _File("curve.jsonl", "A line for each step of training.")
    ledger = _File("ledger.json", "The largest tensors of each phase's peak.")
    plan = _File("plan.json", "The memory that was planned, for the run's own process.")
    checkpoint = _File("checkpoint.pt", "From which an interrupted training goes on; gone when the run is recorded.")
    progress = _File("progress.json", "How far the run is, for the live view.")
    log = _File("log.txt", "What libraries printed, and tracebacks; held open by the run's process.")
    lock = _File("lock", "Held by the sweep that has the run in hand.")


def write_record(results: Path, record: Record) -> Path:
    """Write a record atomically and return its path. It gets its name once it has been read back. Checksums of what was
    there before are none of it."""
    path = RunFolder.of(results, record.id).record
    unseal(path.parent)
    write_atomically(path, finite_record(record).model_dump_json(indent=1) + "\n", check=read_record)
    return path


def read_record(path: Path) -> Record:
    """Read one record. Raises UnreadableRecord with one line that says what is wrong."""
    try:
        text = read_regular(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableRecord(f"{path}: {error.strerror}; delete it and run again", newer=False) from None
    try:
        record = Record.model_validate_json(text)
    except ValidationError as error:
        raise _unreadable(path, text, error) from None
    if record.schema_version > SCHEMA:
        raise _newer(path, record.schema_version)
    return record


def _unreadable(path: Path, text: bytes, error: ValidationError) -> UnreadableRecord:
    """What is wrong with a file that is no record of this schema."""
    try:
        content = from_json(text.decode("utf-8"), "it")
    except ValueError as problem:
        return UnreadableRecord(f"{path}: not a whole record ({problem}); delete it and run again", newer=False)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        return _newer(path, version)
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return UnreadableRecord(f"{path}: not a record ({place}: {first['msg']})", newer=False)


def _newer(path: Path, version: int) -> UnreadableRecord:
    """A record of a later version."""
    return UnreadableRecord(
        f"{path}: written in schema {version}, this version reads {SCHEMA}; upgrade, or use another results folder",
        newer=True,
    )


def finished_record(results: Path, run: str, finished: Sequence[Status] = ("ok",)) -> Record | None:
    """The record of an equal key whose status is ok, or one that counts as `finished`, if there is one.

    A record that cannot be read, or was changed since, is set aside under another name, so that nothing is overwritten,
    and a line says so; one written by a newer version raises UnreadableRecord, since running again would replace it.
    """
    path = RunFolder.of(results, run).record
    if not path.exists():
        return None
    try:
        record = read_record(path)
        if not changed(path.parent, path.name):
            return record if record.status in finished else None
        why = "not as the run left it"
    except UnreadableRecord as problem:
        if problem.newer:
            raise
        why = "not a whole record"
    number = 1
    while (aside := path.with_name(f"record.unreadable-{number}.json")).exists():
        number += 1
    path.rename(aside)
    say(f"{path}: {why}; set aside as {aside.name}, the run is done again")
    return None
