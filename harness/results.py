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
    sweeps/<name>.json               the runs that make up a sweep, in its order
    sequences/<name>.json            what `python -m harness.sequence` found
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import UserError
from harness.sections import (
    EVALUATION,
    TRAINING,
    Better,
    DeviceMemory,
    Energy,
    Forgetting,
    Inference,
    LmEvalTask,
    Machine,
    Memory,
    Parameters,
    Paraphrase,
    Phases,
    Throughput,
    Typos,
    highest,
    part,
)

SCHEMA = 1
"""Version of the record's layout; a reader refuses a newer one."""

MODEL = "model"
"""Name of the folder in which a run keeps its trained model."""

Status = Literal["ok", "oom", "diverged", "error", "interrupted", "timeout", "skipped"]


class Record(BaseModel):
    """Everything known of one run. Bytes and seconds; what was not measured is null, and `null_reasons` says why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA
    id: str
    """`<method>-<12 hex digits of the key's hash>`."""
    key: dict[str, Any]
    """What decides whether two runs are the same: settings, model, data, environment, repeat."""
    status: Status
    cause: str | None = None
    """For a status other than ok: one line that says why."""
    user_error: bool = False
    """The cause is something the user can put right."""
    step: int | None = None
    """Optimizer steps done when the run ended."""
    scored_step: int | None = None
    """The step whose weights were scored."""
    started: str
    """UTC, ISO 8601."""
    seconds: dict[str, float] = {}
    """Wall time by phase, and `total`."""
    model_description: str = ""
    """What the base model is, in words."""
    method: str
    label: str
    """Short name of the row, such as `lora r=8`."""
    targets: list[str] = []
    """Names of the adapted modules, with layer numbers replaced by `*`."""
    learning_rate: float | None = None
    parameters: Parameters | None = None
    memory: Memory | None = None
    planned: Phases | None = None
    """Memory by phase as it was predicted from shapes, before anything was loaded."""
    ledger: Phases | None = None
    """Memory by phase as tensors held it in a short pass after training; the largest tensors are in ledger.json."""
    throughput: Throughput | None = None
    device_memory: DeviceMemory | None = None
    machine: Machine | None = None
    energy: Energy | None = None
    inference: dict[str, list[Inference]] | None = None
    """By model that answers (`base`, `unmerged`, `merged`), an entry for each batch size."""
    quality: dict[str, float | None] = {}
    """val_loss (nats a token) and scores on the test examples, in each metric's usual unit."""
    base_quality: dict[str, float | None] = {}
    """The same scores of the untouched base."""
    signatures: dict[str, str] = {}
    """By metric: which scorer, version and settings."""
    better: dict[str, Better] | None = None
    """By score: which values are better, as its metric says; null in records of earlier versions."""
    baselines: dict[str, float] = {}
    """Answers that need no model: BLEU of `join_slots`, `best_constant`; accuracy of `most_frequent_class`."""
    test_examples: int | None = None
    train_tokens: int | None = None
    """Prompt and completion tokens that training consumed, padding not counted."""
    truncated: dict[str, tuple[int, int]] = {}
    """By split: examples whose text was cut to fit, of how many that were read; in training, each time counts."""
    forgetting: Forgetting | None = None
    lm_eval: dict[str, LmEvalTask] | None = None
    """By task of `lm_eval.tasks`."""
    typos: Typos | None = None
    paraphrases: list[Paraphrase] | None = None
    processor: str | None = None
    """Of a run on a CPU: the processor and the instructions that its arithmetic may use; null in records of before."""
    null_reasons: dict[str, str] = {}
    """By field: why it is null."""
    warnings: list[str] = []
    """What a reader should know, such as a tracker that failed."""

    @cached_property
    def flat_key(self) -> dict[str, Any]:
        """The key on one level, with dotted names."""
        return dict(flat_items(self.key))

    @property
    def train_peak(self) -> int | None:
        """Bytes that tensors hold at training's highest peak; None where the ledger has none."""
        phases = part(self.ledger, TRAINING)
        return highest(phases)[1].bytes if phases else None

    @property
    def evaluate_peak(self) -> int | None:
        """The same of scoring and generation."""
        phases = part(self.ledger, EVALUATION)
        return highest(phases)[1].bytes if phases else None


def flat_items(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings on one level, with dotted names."""
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from flat_items(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


class UnreadableRecord(UserError):
    """A record that is truncated, not JSON, or of another schema. `newer`: written by a later version."""

    def __init__(self, problem: str, newer: bool) -> None:
        super().__init__(problem)
        self.newer = newer


def hash_of(value: Any) -> str:
    """Hex SHA-256 of a JSON value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def run_id(method: str, key: dict[str, Any]) -> str:
    """The id under which a run of this key is recorded."""
    return f"{method}-{hash_of(key)[:12]}"


def run_folder(results: Path, run: str) -> Path:
    """The folder of one run."""
    return results / "runs" / run


def write_atomically(path: Path, text: str) -> None:
    """Write the whole text or nothing: a temporary file beside it, synced, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_record(results: Path, record: Record) -> Path:
    """Write a record atomically and return its path."""
    path = run_folder(results, record.id) / "record.json"
    write_atomically(path, record.model_dump_json(indent=1) + "\n")
    return path


def read_record(path: Path) -> Record:
    """Read one record. Raises UnreadableRecord with one line that says what is wrong."""
    text = path.read_bytes()
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
        content = json.loads(text.decode("utf-8"))
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


def finished(results: Path, run: str) -> Record | None:
    """The record of an equal key whose status is ok, if there is one.

    A record that cannot be read is set aside under another name, so that nothing is overwritten; one written by a
    newer version raises UnreadableRecord, since running again would replace it.
    """
    path = run_folder(results, run) / "record.json"
    if not path.exists():
        return None
    try:
        record = read_record(path)
    except UnreadableRecord as problem:
        if problem.newer:
            raise
        number = 1
        while (aside := path.with_name(f"record.unreadable-{number}.json")).exists():
            number += 1
        path.rename(aside)
        return None
    return record if record.status == "ok" else None


def write_sweep(results: Path, name: str, question: str, runs: Iterable[dict[str, str]]) -> Path:
    """Write which runs make up a sweep: for each its `id`, `label` and the `overrides` that produce it."""
    path = results / "sweeps" / f"{name}.json"
    content = {"schema_version": SCHEMA, "name": name, "question": question, "runs": list(runs)}
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    return path


def recorded_sweeps(results: Path) -> list[str]:
    """The names of the sweeps in a results folder, those of folders such as `papers/…` too, sorted."""
    folder = results / "sweeps"
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.json"))


def read_sweep(results: Path, name: str) -> dict[str, Any]:
    """The sweep written by `write_sweep`. Raises UserError where there is none."""
    path = results / "sweeps" / f"{name}.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = recorded_sweeps(results)
        have = f"there are: {', '.join(known)}" if known else "no sweep has been run there yet"
        raise UserError(f"{path}: no such sweep; {have}") from None
    except ValueError as error:
        raise UserError(f"{path}: not readable ({error}); run the sweep again to write it anew") from None
    return content
