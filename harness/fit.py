"""Whether a run fits the device: its plan against the memory there is, before anything is loaded."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.environment import resolve_device
from harness.errors import UserError, first_line
from harness.gpus import free_bytes
from harness.results import write_atomically
from harness.sections import PhasePeak, Phases, highest
from harness.system_memory import total
from harness.units import budget_bytes, in_units

if TYPE_CHECKING:
    from harness.config import RunSettings


@dataclass(frozen=True)
class Prediction:
    """A run's plan, or why there is none."""

    planned: Phases | None
    reason: str | None
    seconds: float | None = None
    """Wall time that it took, or that reading it from the cache did."""

    def write(self, folder: Path) -> None:
        """Keep it for the run's own process."""
        phases = {name: peak.model_dump() for name, peak in (self.planned or {}).items()}
        content = {"planned": phases or None, "reason": self.reason, "seconds": self.seconds}
        write_atomically(folder / "plan.json", json.dumps(content))

    @staticmethod
    def read(folder: Path) -> Prediction:
        """What `write` kept."""
        try:
            content = json.loads((folder / "plan.json").read_text())
        except FileNotFoundError:
            return Prediction(None, "the process that planned it ended before it was done")
        phases = content["planned"] and {name: PhasePeak(**peak) for name, peak in content["planned"].items()}
        return Prediction(phases, content["reason"], content["seconds"])


def predict(settings: RunSettings) -> Prediction:
    """The plan of a run. A run that cannot be planned can be run all the same."""
    from harness.planning import plan

    began = time.perf_counter()
    try:
        made = plan(settings, None)
    except UserError as error:
        return Prediction(None, error.problems[0])
    except Exception as error:  # a library's layer that shapes alone do not suit must not cost the run
        return Prediction(None, f"cannot be planned ({type(error).__name__}: {first_line(error)})")
    return Prediction(
        {name: PhasePeak(**peak) for name, peak in made.by_phase.items()}, None, time.perf_counter() - began
    )


def too_much(settings: RunSettings, planned: Phases) -> str | None:
    """Why a run of this plan cannot fit, or None. A plan leaves out what is no tensor, so what is refused here would
    have failed; what is not may still fail."""
    there = available(settings)
    phase, peak = highest(planned)
    needed = peak.bytes
    if settings.train.optimizer.startswith("paged"):  # its pages can be on the host
        needed = max(each.bytes - each.by_owner["optimizer_state"] for each in planned.values())
    if there is None or needed <= there:
        return None
    whose = "budget" if settings.budget is not None else "the device"
    return (
        f"predicted oom: {in_units(needed)} in {phase}, {whose} has {in_units(there)}; "
        f"python -m harness.plan with the same settings and plan.budget={in_units(there).replace(' ', '')} says what "
        "would make it fit"
    )


def available(settings: RunSettings) -> int | None:
    """Bytes that the run may use: the budget's, else what is free on the GPU, else the machine's or container's."""
    if settings.budget is not None:
        return budget_bytes(settings.budget, "budget")
    if resolve_device(settings.device) == "cuda":
        return free_bytes()
    return total()
