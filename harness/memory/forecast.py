"""Whether a run fits the device: its plan against the memory there is, before anything is loaded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError, first_line
from harness.files import write_atomically
from harness.host.environment import resolve_device
from harness.host.gpus import free_bytes
from harness.host.memory import total
from harness.host.units import budget_bytes, in_units
from harness.results.sections import PhasePeak, Phases, Section, highest

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings


class Forecast(Section):
    """A run's plan, or why there is none."""

    planned: Phases | None = None
    reason: str | None = None
    seconds: float | None = None
    """Wall time that it took, or that reading it from the cache did."""

    def write(self, path: Path) -> None:
        """Keep it for the run's own process."""
        write_atomically(path, self.model_dump_json())

    @staticmethod
    def read(path: Path) -> Forecast:
        """What `write` kept."""
        try:
            return Forecast.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return Forecast(reason="the process that planned it ended before it was done")


def predict(settings: RunSettings) -> Forecast:
    """The plan of a run. A run that cannot be planned can be run all the same. Raises UserError for what is wrong with
    the model's configuration, tokenizer or texts, which is so told before weights are loaded."""
    from harness.memory.planner import NotPlanned, plan

    began = time.perf_counter()
    try:
        planned = plan(settings, None)
    except NotPlanned as error:
        return Forecast(reason=error.problems[0])
    except UserError:
        raise
    except Exception as error:  # a library's layer that shapes alone do not suit must not cost the run
        return Forecast(reason=f"cannot be planned ({type(error).__name__}: {first_line(error)})")
    phases = {name: PhasePeak(**peak) for name, peak in planned.by_phase.items()}
    return Forecast(planned=phases, seconds=time.perf_counter() - began)


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
        f"python -m harness plan with the same settings and plan.budget={in_units(there).replace(' ', '')} says what "
        "would make it fit"
    )


def available(settings: RunSettings) -> int | None:
    """Bytes that the run may use: the budget's, else what is free on the GPU, else the machine's or container's."""
    if settings.budget is not None:
        return budget_bytes(settings.budget)
    if resolve_device(settings.device) == "cuda":
        return free_bytes()
    return total()
