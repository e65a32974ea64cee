"""Whether the machine was quiet while something was timed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from harness.host.environment import usable_cores
from harness.measure.flops import gemm_peak
from harness.results.sections import Machine

STEAL = 0.01
"""Share of the cores' time from which stealing counts as noise: a quiet host steals none, and a step waits for its
slowest thread."""
OTHERS = 0.05
"""Share of the cores' time from which other processes do: a system's own work takes 1 to 2%, one busy process on 16
cores takes 6%."""
LOAD = 1.5
"""Tasks per core of the machine: with more of them than cores, threads wait for each other's turn."""
DRIFT = 0.1
"""Relative change of the peak: one measured right after another differed by up to 7%."""
SHORTEST = 1.0
"""Seconds below which shares are not told: the system counts in hundredths of a second."""


@dataclass(frozen=True)
class Clocks:
    """Seconds since some time in the past."""

    wall: float
    own: float
    """Of all cores, spent by this process."""
    busy: float | None
    """Of the usable cores, spent by any process; None where the system does not tell."""
    stolen: float | None


def clocks() -> Clocks:
    """The clocks now."""
    busy = stolen = None
    if hasattr(os, "sched_getaffinity") and (cores := _cores()):
        mine = [cores[core] for core in os.sched_getaffinity(0) if core in cores]
        # man 5 proc: user, nice, system, idle, iowait, irq, softirq, steal; guests are in user and nice already.
        ticks = os.sysconf("SC_CLK_TCK")
        busy = sum(sum(core[:3]) + sum(core[5:7]) for core in mine) / ticks
        stolen = sum(core[7] for core in mine) / ticks
    return Clocks(time.perf_counter(), time.process_time(), busy, stolen)


def _cores() -> dict[int, list[int]]:
    """By core of this machine: the counts of /proc/stat; empty where there is none, or one that never moves."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return {}
    counts_by_core = {}
    for line in lines:
        name, *counts = line.split()
        if name.startswith("cpu") and name != "cpu" and len(counts) >= 8:
            counts_by_core[int(name[3:])] = [int(count) for count in counts]
    return counts_by_core if any(any(counts) for counts in counts_by_core.values()) else {}


class Surroundings:
    """Made before what is watched begins; `ended` is asked after it."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.before = gemm_peak(device, dtype)
        self.start = clocks()

    def ended(self) -> Machine:
        """What happened since."""
        end, load = clocks(), load_average()
        return machine(self.start, end, load, self.before, gemm_peak(self.device, self.dtype), self.device)


def load_average() -> float | None:
    """Over the last minute; None where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def machine(
    start: Clocks, end: Clocks, load: float | None, before: float, after: float, device: str = "cpu"
) -> Machine:
    """What two looks at the clocks come to. `before`, `after`: peaks in floating-point operations per second."""
    cores, wall = usable_cores(), end.wall - start.wall
    steal = others = None
    if wall >= SHORTEST and end.busy is not None and end.stolen is not None:
        assert start.busy is not None
        assert start.stolen is not None
        steal = (end.stolen - start.stolen) / (wall * cores)
        others = max(0.0, end.busy - start.busy - (end.own - start.own)) / (wall * cores)
    state = Machine(
        cores=cores,
        seconds=wall,
        steal=steal,
        others=others,
        load=load,
        gemm_flops_before=before,
        gemm_flops_after=after,
        drift=after / before - 1,
        noisy=[],
    )
    return state.model_copy(update={"noisy": noise(state, os.cpu_count() or 1, device)})


def noise(state: Machine, all_cores: int, device: str) -> list[str]:
    """Why times are not to be trusted. `all_cores`: of the machine, usable or not."""
    lines = []
    if state.steal is not None and state.steal > STEAL:
        lines.append(f"other guests of the host took {state.steal:.1%} of the cores")
    # Beside a run on a GPU the processes of runs on the others have cores of their own.
    if device == "cpu" and state.others is not None and state.others > OTHERS:
        lines.append(f"other processes took {state.others:.0%} of the cores")
    if state.load is not None and state.load > LOAD * all_cores:
        lines.append(f"{state.load:.1f} tasks on {all_cores} cores")
    if abs(state.drift) > DRIFT:
        lines.append(f"the peak of matrix products changed by {state.drift:+.0%} during training")
    return lines
