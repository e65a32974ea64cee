"""A run's record: what is known before it starts, and put together from its stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from harness.config.run_settings import RunSettings
from harness.host.environment import processor, resolve_device
from harness.methods import Kind
from harness.results.record import Record, Status
from harness.run.progress import RunProgress


@dataclass(frozen=True)
class Stage:
    """Sections of the record that a stage measured, by field why something is null, and warnings."""

    sections: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


VAL_LOSS: dict[Kind, str] = {
    "causal": "mean nats per completion token, first reference",
    "seq2seq": "mean nats per completion token, first reference",
    "classification": "mean nats per text",
}
"""What the validation loss is."""


def base_record(settings: RunSettings, run: str) -> dict[str, Any]:
    """The fields of a record that are known before the run starts."""
    return {
        "id": run,
        "key": settings.key(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "model_description": settings.model.describe(),
        "method": settings.method.name,
        "label": settings.label(),
        "learning_rate": settings.method.lr,
        "processor": processor() if resolve_device(settings.device) == "cpu" else None,
    }


def failed_record(settings: RunSettings, run: str, status: Status, cause: str, **known: Any) -> Record:
    """The record of a run that did not end well. `known`: fields that are known all the same."""
    return Record(**(base_record(settings, run) | known), status=status, cause=cause)


def assemble(known: dict[str, Any], stages: Sequence[Stage], progress: RunProgress) -> Record:
    """The record of a run that is done: what its stages measured, and their reasons."""
    sections = known | {name: value for stage in stages for name, value in stage.sections.items()}
    reasons = {name: reason for stage in stages for name, reason in stage.reasons.items()}
    seconds = progress.seconds | {"total": progress.total}
    warnings = progress.warnings + [warning for stage in stages for warning in stage.warnings]
    return Record(**sections, status="ok", seconds=seconds, null_reasons=reasons, warnings=warnings)
