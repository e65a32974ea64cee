"""What a run's record says of its memory: the device's own figures, and what the ledger counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import first_line
from harness.forward import LabelForward
from harness.measure.memory import Meter, Peak
from harness.memory_pass import run_batches, run_pass
from harness.results import write_atomically
from harness.sections import Memory, PhasePeak, Phases
from harness.task import Task

if TYPE_CHECKING:
    from harness.config import RunSettings


def memory(train: Peak | None, evaluate: Peak | None, meter: Meter) -> Memory:
    """The record's memory section."""
    return Memory(
        train_rss_above_base=train.rss_above_base if train else None,
        evaluate_rss_above_base=evaluate.rss_above_base if evaluate else None,
        process_peak_rss=meter.process_peak,
        train_cuda_allocated=train.cuda_allocated if train else None,
        train_cuda_reserved=train.cuda_reserved if train else None,
        evaluate_cuda_allocated=evaluate.cuda_allocated if evaluate else None,
        evaluate_cuda_reserved=evaluate.cuda_reserved if evaluate else None,
    )


def counted(
    settings: RunSettings,
    task: Task,
    base: Sequence[tuple[str, torch.Tensor]],
    model: Any,
    forward: LabelForward,
    folder: Path,
) -> tuple[Phases | None, str | None]:
    """Memory by phase and owner in a pass of the run's model, its largest tensors written to ledger.json; or why not.

    `base`: `base_tensors` of the model before the method was applied. The model is afterwards as it was.
    """
    batches = run_batches(task, forward.dtype)
    try:
        peaks = run_pass(base, model, forward, settings.method, settings.train, settings.eval, batches)
    except (MemoryError, torch.OutOfMemoryError) as error:  # the trained model is there, and must not be lost
        return None, f"memory ran out in the ledger's pass: {first_line(error)}"
    largest = {phase: [asdict(held) for held in moment.largest] for phase, moment in peaks.items()}
    write_atomically(folder / "ledger.json", json.dumps(largest, indent=1) + "\n")
    return {name: PhasePeak(bytes=m.bytes, by_owner=dict(m.by_owner)) for name, m in peaks.items()}, None
