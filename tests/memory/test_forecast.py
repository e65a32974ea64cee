"""Planned before it is run, counted after it was: both figures of a record, and what happens where a run cannot fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.config.compose import composed
from harness.config.validate import settings_from
from harness.errors import UserError
from harness.host import memory
from harness.memory import forecast
from harness.results.record import Record
from harness.results.sections import PhasePeak, highest
from tests.support.command_line import SMALL, Harness
from tests.support.records import run_folder
from tests.support.tiny import SMALL as TINY_SMALL

MIB = 2**20


def phases(**sizes: int) -> dict[str, PhasePeak]:
    """A plan of which a third each is the base, optimizer state and activations."""
    owners = ("base_weights", "optimizer_state", "activations")
    return {p: PhasePeak(bytes=3 * n, by_owner=dict.fromkeys(owners, n)) for p, n in sizes.items()}


@pytest.mark.parametrize("method", ["lora", "full", "zero_shot"])
def test_a_record_has_the_same_bytes_planned_and_counted(
    method: str, run_point: Callable[..., Record], tmp_path: Path
) -> None:
    record = run_point(f"method={method}", "seed=3")
    assert record.status == "ok", record.cause
    assert record.planned is not None
    assert record.planned == record.ledger
    assert set(record.planned) == {"load", "evaluate", "generate"} | (
        set() if method == "zero_shot" else {"forward", "backward", "step"}
    )
    for peak in record.planned.values():
        assert peak.bytes == sum(peak.by_owner.values())
    assert record.seconds["plan"] > 0
    largest = json.loads((run_folder(tmp_path / "results", record.id) / "ledger.json").read_text())
    assert set(largest) == set(record.planned)
    for phase, held in largest.items():
        assert len(held) == 10
        assert sum(each["bytes"] for each in held) <= record.planned[phase].bytes
    assert {"owner", "bytes", "name", "shape", "dtype", "made_by"} == set(largest["load"][0])


def test_a_point_that_cannot_fit_is_skipped_with_its_plan_and_the_others_run(harness: Harness) -> None:
    plain = harness("-m", "train.batch_size=1,8", "method=lora", "budget=24MiB")
    assert plain.returncode == 1
    records = {r.key["settings"]["train"]["batch_size"]: r for r in harness.records().values()}
    assert records[1].status == "ok", records[1].cause
    skipped = records[8]
    assert skipped.status == "skipped"
    assert skipped.step is None
    assert skipped.ledger is None
    assert skipped.planned is not None
    phase, peak = highest(skipped.planned)
    assert peak.bytes > 24 * MIB
    assert skipped.cause is not None
    assert skipped.cause.startswith("predicted oom: ")
    assert f"in {phase}, budget has 24 MiB; python -m harness plan" in skipped.cause
    assert "1 done, 0 failed, 1 skipped" in plain.stderr
    again = harness("-m", "train.batch_size=1,8", "method=lora", "budget=1GiB")
    assert again.returncode == 0, again.stderr
    assert "1 done before" in again.stderr  # the budget is no part of what a run is
    assert all(r.status == "ok" and r.planned == r.ledger for r in harness.records().values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("24", "budget=24: has no unit; write 24GiB"),
        ("24GB", "powers of ten; write 24GiB"),
        ("-1", "must be more than nothing"),
        ("abc", "is no amount of memory"),
    ],
)
def test_budgets_that_are_none(text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        settings_from(composed([*TINY_SMALL, f"budget='{text}'"]))
    assert len(error.value.problems) == 1
    assert said in error.value.problems[0]


def test_what_there_is_is_the_smallest_of_machine_container_and_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings_from(composed([*SMALL, "device=cpu"]))
    monkeypatch.setattr(memory, "CGROUPS", ())
    machine = forecast.available(chosen)
    stated = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert machine == 1024 * int(stated.split()[1])
    limit = tmp_path / "memory.max"
    used = tmp_path / "memory.current"
    used.write_text(f"{100 * MIB}\n")
    monkeypatch.setattr(memory, "CGROUPS", ((str(limit), str(used)),))
    for text, size in (("max\n", machine), (f"{300 * MIB}\n", 300 * MIB), (f"{2**63 - 4096}\n", machine)):
        limit.write_text(text)
        assert forecast.available(chosen) == size
        assert memory.available() <= size - 100 * MIB
    assert forecast.available(chosen.model_copy(update={"budget": "2GiB"})) == 2**31


def test_pages_of_a_paged_optimizer_need_not_be_on_the_device() -> None:
    chosen = settings_from(composed([*SMALL, "budget=25KiB"]))
    plan = phases(load=1024, step=10 * 1024)
    assert forecast.too_much(chosen, plan)
    paged = chosen.train.model_copy(update={"optimizer": "paged_adamw8bit"})
    assert forecast.too_much(chosen.model_copy(update={"train": paged}), plan) is None


def test_a_method_that_cannot_be_planned_is_run_all_the_same(run_point: Callable[..., Record]) -> None:
    """AdaMSS decomposes weights, so that its shapes depend on their values."""
    record = run_point("method=adamss")
    assert record.status == "ok", record.cause
    assert record.planned is None
    assert "cannot be planned" in record.null_reasons["planned"]
    assert record.ledger
