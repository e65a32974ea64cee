"""Energy by counters of the machine, with made-up ones in their places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.measure.energy import POWERCAP, EnergyMeter, gpu_millijoules
from harness.results.record import Record

SPAN = 262_143_328_850


def counter(powercap: Path, number: str, name: str, microjoules: int) -> None:
    """A counter of RAPL as Linux shows it."""
    place = powercap / f"intel-rapl:{number}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "name").write_text(name + "\n")
    (place / "max_energy_range_uj").write_text(f"{SPAN}\n")
    (place / "energy_uj").write_text(f"{microjoules}\n")


def test_processors_and_memory_are_added_and_parts_are_not(tmp_path: Path) -> None:
    counter(tmp_path, "0", "package-0", 5_000_000)
    counter(tmp_path, "0:0", "core", 1_000_000)
    counter(tmp_path, "0:1", "dram", SPAN - 1_000_000)
    counter(tmp_path, "1", "package-1", 0)
    meter = EnergyMeter(cuda=False, powercap=tmp_path)
    counter(tmp_path, "0", "package-0", SPAN - 2_000_000)
    meter.note()
    counter(tmp_path, "0", "package-0", 6_000_000)  # it has begun anew, and passed where it was
    counter(tmp_path, "0:0", "core", 900_000_000)
    counter(tmp_path, "0:1", "dram", 500_000)  # this one too
    counter(tmp_path, "1", "package-1", 2_500_000)
    energy = meter.used()
    assert energy is not None
    assert energy.joules == pytest.approx(SPAN / 1e6 + 1 + 1.5 + 2.5)
    assert (energy.source, energy.estimate) == ("RAPL", True)


def test_a_step_in_which_a_counter_may_have_begun_anew(tmp_path: Path) -> None:
    counter(tmp_path, "0", "package-0", 0)
    (tmp_path / "intel-rapl:0" / "max_energy_range_uj").write_text("1\n")
    meter = EnergyMeter(cuda=False, powercap=tmp_path)
    assert meter.used() is None
    assert "begun anew" in meter.reason


def test_no_counter_is_a_reason(tmp_path: Path) -> None:
    meter = EnergyMeter(cuda=False, powercap=tmp_path)
    assert meter.used() is None
    assert meter.reason == "this machine has no counter of RAPL"
    (tmp_path / "intel-rapl:0").mkdir()
    assert "cannot be read" in EnergyMeter(cuda=False, powercap=tmp_path).reason
    if gpu_millijoules() is None:
        meter = EnergyMeter(cuda=True, powercap=tmp_path)
        assert meter.used() is None
        assert "the GPU tells of none" in meter.reason


def test_a_run_says_what_it_used_or_why_it_does_not_know(run_point: Callable[..., Record]) -> None:
    record = run_point()
    assert record.status == "ok", record.cause
    assert (record.energy is None) == ("energy" in record.null_reasons)
    if record.energy is None:
        assert "RAPL" in record.null_reasons["energy"]
    else:
        assert POWERCAP.is_dir()
        assert record.energy.joules > 0
