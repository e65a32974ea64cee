"""Versions of a baseline."""

from __future__ import annotations

from reports.gate.entries import Baseline, Entry, Machine


def version(day: int, total: int, speed: float) -> Baseline:
    """One run whose speed differs by a hundredth between repeats."""
    entry = Entry(
        key="k",
        overrides="method=lora",
        seed=0,
        dtype="fp32",
        exact={"parameters.total": total},
        throughput=[speed, speed * 1.01, speed * 0.99],
    )
    machine = Machine(device="cpu: x", threads=1, allocator=None)
    return Baseline(
        sweep="gate",
        measured=f"2026-11-{day:02}",
        machine=machine,
        versions={"harness": f"0.{day}"},
        repeats=3,
        runs={"lora": entry},
    )
