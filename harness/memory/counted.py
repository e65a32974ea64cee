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
from harness.files import write_atomically
from harness.measure.device_memory import NotMeasurable, View, device_view
from harness.memory.ledger_pass import base_tensors, run_pass
from harness.memory.longest_batches import run_batches
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.forward import LabelForward
from harness.results.sections import DeviceMemory, PhasePeak, Phases

if TYPE_CHECKING:
    pass


def start_view(device: str, model: Any) -> View | str:
    """What will look at the device during the pass, made when the base has been loaded; or why nothing can."""
    try:
        return device_view(device, (tensor for _, tensor in base_tensors(model)))
    except NotMeasurable as error:
        return str(error)


@dataclass(frozen=True)
class Counted:
    """What the pass found, and by field of the record why something is missing."""

    ledger: Phases | None
    device: DeviceMemory | None
    reasons: dict[str, str]


def counted(
    task: EncodedTask,
    base: Sequence[tuple[str, torch.Tensor]],
    forward: LabelForward,
    view: View | str,
    ledger_file: Path,
) -> Counted:
    """Memory by phase and owner in a pass of the run's model, its largest tensors written to `ledger_file`.

    `base`: `base_tensors` of the model before the method was applied. No value of the model changes, but for
    weights of the base that were trained: they are rounded to the run's dtype, as the run does next.
    """
    try:
        batches, look = run_batches(task, forward.dtype), None if isinstance(view, str) else view
        peaks = run_pass(task.settings, base, forward, batches, view=look)
        device = None if look is None else look.result(peaks)
        largest = {phase: [asdict(held) for held in moment.largest] for phase, moment in peaks.items()}
        write_atomically(ledger_file, json.dumps(largest, indent=1) + "\n")
    except Exception as error:  # the trained model is there, and must not be lost for a figure of its memory
        traceback.print_exc()  # to the run's log
        forward.model.zero_grad(set_to_none=True)
        forward.model.eval()
        why = f"the ledger's pass failed ({type(error).__name__}: {first_line(error)})"
        fields = ("ledger", "train_peak", "evaluate_peak", "device_memory")
        return Counted(None, None, dict.fromkeys(fields, why))
    ledger: Phases = {name: PhasePeak(bytes=m.bytes, by_owner=dict(m.by_owner)) for name, m in peaks.items()}
    return Counted(ledger, device, {"device_memory": view} if isinstance(view, str) else {})
