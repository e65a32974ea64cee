"""What a run's record says of its memory: the device's own figures, and what the ledger counted."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import first_line
from harness.forward import LabelForward
from harness.measure.memory import Meter, Peak
from harness.measure.resident import Untold, View, device_view
from harness.memory_pass import base_tensors, run_pass
from harness.pass_batches import run_batches
from harness.results import write_atomically
from harness.sections import DeviceMemory, Memory, PhasePeak, Phases
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


def start_view(device: str, model: Any) -> View | str:
    """What will look at the device during the pass, made when the base has been loaded; or why nothing can."""
    try:
        return device_view(device, (tensor for _, tensor in base_tensors(model)))
    except Untold as error:
        return str(error)


@dataclass(frozen=True)
class Counted:
    """What the pass found, and by field of the record why something is missing."""

    ledger: Phases | None
    device: DeviceMemory | None
    reasons: dict[str, str]


def counted(
    settings: RunSettings,
    task: Task,
    base: Sequence[tuple[str, torch.Tensor]],
    model: Any,
    forward: LabelForward,
    folder: Path,
    view: View | str,
) -> Counted:
    """Memory by phase and owner in a pass of the run's model, its largest tensors written to ledger.json.

    `base`: `base_tensors` of the model before the method was applied. No value of the model changes, but for
    weights of the base that were trained: they are rounded to the run's dtype, as the run does next.
    """
    try:
        batches, look = run_batches(task, forward.dtype), None if isinstance(view, str) else view
        peaks = run_pass(base, model, forward, settings.method, settings.train, settings.eval, batches, view=look)
        device = None if look is None else look.result(peaks)
        largest = {phase: [asdict(held) for held in moment.largest] for phase, moment in peaks.items()}
        write_atomically(folder / "ledger.json", json.dumps(largest, indent=1) + "\n")
    except Exception as error:  # the trained model is there, and must not be lost for a figure of its memory
        traceback.print_exc()  # to the run's log
        model.zero_grad(set_to_none=True)
        model.eval()
        why = f"the ledger's pass failed ({type(error).__name__}: {first_line(error)})"
        fields = ("ledger", "train_peak", "evaluate_peak", "device_memory")
        return Counted(None, None, dict.fromkeys(fields, why))
    ledger: Phases = {name: PhasePeak(bytes=m.bytes, by_owner=dict(m.by_owner)) for name, m in peaks.items()}
    return Counted(ledger, device, {"device_memory": view} if isinstance(view, str) else {})
