"""The stages that keep what was trained, look whether it can be loaded again, and put beside it what makes its folder
enough by itself: tokenizer, prompt, how answers are written, and a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import metrics
from harness.files import write_atomically
from harness.metrics.tools.bootstrap import resampled
from harness.models.roles import in_parts
from harness.run.record import Stage
from harness.run.self_check import faults

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.results.folder import RunFolder
    from harness.results.record import Record
    from harness.run.adapt import Adapted
    from harness.run.progress import RunProgress

PROMPT = "prompt.json"
"""Name of the file that says how an input becomes what the model reads."""
MIB = 2**20


def save(adapted: Adapted, folder: RunFolder, progress: RunProgress) -> Stage:
    """Save what the method trained, in the precision in which it is deployed."""
    adapted.deploy()
    with progress.phase("save"):
        size = adapted.method.save(adapted.model, folder.adapter)
        if adapted.method.trains:
            adapted.check.saved(adapted.model, adapted.forward, adapted.task.validation[0])
    return Stage({"parameters": adapted.stage.sections["parameters"] | {"adapter_bytes": size}})


def check(adapted: Adapted, folder: RunFolder, progress: RunProgress) -> Stage:
    """Load what was saved onto a new base, and compare; every self-check's findings."""
    if not adapted.method.trains:
        return Stage({"checks": None}, {"checks": "nothing is trained"})
    with progress.phase("check"):
        adapted.check.reload(folder.adapter)
    checks = adapted.check.section()
    assert checks is not None
    return Stage({"checks": checks}, adapted.check.reasons, faults(checks, adapted.method.facts))


def describe(adapted: Adapted, folder: Path, record: Record, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write what belongs to what the method has saved in `folder`; nothing where it has saved nothing. `lines`: of each
    test example, its scores."""
    if not (adapted.method.trains and folder.is_dir()):
        return
    adapted.tokenizer.save_pretrained(folder)
    if adapted.task.kind != "classification":
        adapted.model.generation_config.save_pretrained(folder)
    write_atomically(folder / PROMPT, json.dumps(prompt_of(adapted.settings), indent=1, ensure_ascii=False) + "\n")
    write_atomically(folder / "README.md", card(adapted.settings, record, intervals(record, lines)))


def prompt_of(settings: RunSettings) -> dict[str, Any]:
    """How an input becomes what the model reads, and where an answer ends."""
    source, answers = settings.data, settings.eval
    kept = ("prompt", "boundary", "chat", "multiline", "stop", "classes")
    told = {name: value for name, value in source.model_dump(mode="json").items() if name in kept}
    return {"data": source.name} | told | {"max_new_tokens": answers.max_new_tokens, "beams": answers.beams}


def intervals(record: Record, lines: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """By score, the 95% interval over test examples, of the scores that it can be drawn for."""
    found = {}
    for name, value in record.quality.items():
        parts = [line.get(name) for line in lines]
        if value is None or not parts or not all(isinstance(part, int | float | list | tuple) for part in parts):
            continue
        table = np.array(parts, dtype=np.float64)
        of_sums = metrics.of_sums(name) if table.ndim == 2 else None
        if table.ndim == 1 or of_sums is not None:
            low, high = np.percentile(resampled(table if table.ndim == 2 else table[:, None], of_sums), [2.5, 97.5])
            found[name] = float(low), float(high)
    return found


def card(settings: RunSettings, record: Record, sure: Mapping[str, tuple[float, float]]) -> str:
    """The model card: metadata in the hub's `model-index` form, then what it scored and what it cost."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    data = record.key["data"]
    scores = {name: value for name, value in record.quality.items() if value is not None}
    results = [
        EvalResult(
            task_type="text-generation" if settings.data.classes is None else "text-classification",
            dataset_type=data["name"],
            dataset_name=data["name"],
            dataset_split="test" if name != "val_loss" else "validation",
            dataset_args={"sha256": data["sha256"], "examples": record.test_examples},
            metric_type=name,
            metric_name=record.signatures.get(name, name),
            metric_value=value,
        )
        for name, value in scores.items()
    ]
    metadata = ModelCardData(
        base_model=settings.model.hub_name,
        library_name="peft",
        tags=["peft-harness", record.method],
        model_name=record.label,
        eval_results=results or None,
    )
    lines = [
        f"# {record.label} on {data['name']}",
        f"Trained and measured by peft-harness {record.key['environment']['versions'].get('harness', '')}, run "
        f"`{record.id}`. Base model: {record.model_description}. {settings.train.steps} steps of "
        f"{settings.train.batch_size * settings.train.accumulation} examples, learning rate {record.learning_rate:g}, "
        f"seed {settings.seed}.",
        "## Scores",
        "| score | value | 95% interval | untouched base | how |\n|---|--:|---|--:|---|\n"
        + "\n".join(_score(name, value, sure.get(name), record) for name, value in scores.items()),
        f"On {record.test_examples} test examples (the loss on validation examples) of data with the SHA-256 "
        f"`{data['sha256']}`. Intervals are over test examples, not over seeds.",
        "## Cost",
        "\n".join(f"- {line}" for line in _costs(record)),
        "## Use",
        "`prompt.json` says how an input becomes what the model reads, `generation_config.json` how it answers.",
        *_not_plain(record.targets),
    ]
    return str(ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n" + "\n\n".join(lines) + "\n"))


def _not_plain(targets: Sequence[str]) -> list[str]:
    """A warning where plain PEFT would load a part of the adapter, and say nothing of the rest."""
    if not (parts := in_parts(targets)):
        return []
    return [
        f"**Not by plain PEFT alone**: {', '.join(parts)} are parts of one matrix of the base. Take it apart first: "
        "`harness.models.roles.prepare(base, PeftConfig.from_pretrained(ADAPTER).target_modules)`, then "
        "`PeftModel.from_pretrained(base, ADAPTER)`. Without it the adapters of these parts are left out, silently."
    ]


def _score(name: str, value: float, sure: tuple[float, float] | None, record: Record) -> str:
    """A score's line."""
    before = record.base_quality.get(name)
    between = f"{sure[0]:.4g} to {sure[1]:.4g}" if sure else "—"
    signature = record.signatures.get(name, "").replace("|", "\\|")
    return f"| {name} | {value:.4g} | {between} | {'—' if before is None else f'{before:.4g}'} | {signature} |"


def _costs(record: Record) -> list[str]:
    """What training cost, a line each."""
    lines = []
    if record.parameters:
        lines.append(f"trainable parameters: {record.parameters.trainable:,} of {record.parameters.total:,}")
    if record.train_peak is not None:
        lines.append(f"tensors at training's peak: {record.train_peak / MIB:,.1f} MiB")
    if record.throughput and record.throughput.tokens_per_second is not None:
        lines.append(f"training: {record.throughput.tokens_per_second:,.0f} tokens a second")
    if record.train_tokens is not None:
        lines.append(f"tokens trained on: {record.train_tokens:,}")
    device = record.key["environment"].get("device")
    return [*lines, f"seconds in all: {record.seconds.get('total', 0):,.0f}, on {device}"]
