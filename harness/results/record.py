"""The record: what a run measured, and why what is null is null."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.files import numbers_or_null
from harness.results.lm_eval import LmEvalTask
from harness.results.sections import (
    EVALUATION,
    TRAINING,
    Better,
    BitsPerByte,
    Checks,
    DeviceMemory,
    Energy,
    Forgetting,
    Inference,
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
from harness.results.tuned import Trial

SCHEMA = 1
"""Version of the record's layout; a reader refuses a newer one."""

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
    resumed_from: int | None = None
    """The step after which this run's training went on from a checkpoint, 0 where it did not; null where it is not
    known, as in records of before and of runs that ended badly."""
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
    ended: float | None = None
    """Share of the written answers to test examples that ended by themselves, not by `eval.max_new_tokens`."""
    bits_per_byte: BitsPerByte | None = None
    """Of the validation loss; null in records of earlier versions."""
    checks: Checks | None = None
    train_tokens: int | None = None
    """Prompt and completion tokens that training consumed, padding not counted."""
    truncated: dict[str, tuple[int, int]] = {}
    """By split: examples whose text was cut to fit, of how many that were read; in training, each time counts."""
    forgetting: Forgetting | None = None
    lm_eval: dict[str, LmEvalTask] | None = None
    """By name of `lm_eval.tasks`; where the library makes no mean of a group, by what is in it."""
    typos: Typos | None = None
    paraphrases: list[Paraphrase] | None = None
    trial: Trial | None = None
    """Of a trial of tuning, which measures nothing else."""
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


def finite_record(record: Record) -> Record:
    """The record without numbers that are NaN or infinite: a score is null, a section left out, each with the reason. A
    finished run whose losses are none has diverged."""
    content = record.model_dump(exclude={"key"})
    bad = [name for name, value in content.items() if numbers_or_null(value) != value]
    if not bad:
        return record
    reasons = dict.fromkeys(bad, "a number of it was NaN or infinite")
    changed = {name: Record.model_fields[name].get_default(call_default_factory=True) for name in bad}
    if "baselines" in bad:
        changed["baselines"] = {n: v for n, v in content["baselines"].items() if numbers_or_null(v) is not None}
    for name in {"quality", "base_quality"} & set(bad):
        changed[name] = numbers_or_null(content[name])
        nulls = {score: value for score, value in content[name].items() if value != changed[name][score]}
        reasons |= {f"{name}.{score}": f"no finite number ({value})" for score, value in nulls.items()}
    lost = [name for name in ("quality.val_loss", "quality.loss", "forgetting") if name in reasons]
    if record.status == "ok" and lost:
        changed |= {"status": "diverged", "cause": f"{lost[0]}: {reasons[lost[0]]}"}
    return record.model_copy(update=changed | {"null_reasons": record.null_reasons | reasons})
