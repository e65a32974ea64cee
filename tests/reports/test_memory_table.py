"""The table of where memory went, from hand-made records."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.results.sections import OWNERS, PhasePeak
from reports.commands.table import report
from reports.read.runs import load_sweep
from reports.statistics.verdicts import compare
from reports.values.frame import tidy
from tests.support.records import add, cells
from tests.support.tables import everything

MIB = 2**20
CAUSE = "predicted oom: 9 GiB in step, the device has 8 GiB"


def peaks(**sizes: dict[str, int]) -> dict[str, PhasePeak]:
    """By phase, from MiB by owner."""
    return {
        phase: PhasePeak(
            bytes=MIB * sum(owners.values()), by_owner={o: MIB * owners[o] if o in owners else 0 for o in OWNERS}
        )
        for phase, owners in sizes.items()
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    counted = peaks(load={"base_weights": 100}, backward={"base_weights": 100, "activations": 300})
    planned = peaks(load={"base_weights": 100}, backward={"base_weights": 100, "activations": 304})
    add(tmp_path, "a", None, {"name": "lora"}, label="lora", planned=planned, ledger=counted)
    reasons = {"planned": "cannot be planned", "ledger": "memory ran out"}
    add(tmp_path, "b", None, {"name": "boft"}, label="boft", null_reasons=reasons)
    skipped = peaks(load={"base_weights": 100}, step={"optimizer_state": 9 * 1024})
    add(tmp_path, "c", None, {"name": "full"}, label="full", status="skipped", cause=CAUSE, planned=skipped)
    everything(tmp_path)
    return tmp_path


def test_the_peak_is_that_of_the_highest_phase_and_the_error_is_the_plans(results: Path) -> None:
    sweep = load_sweep(results, "s")
    frame = tidy(sweep, compare(sweep)).set_index("label")
    assert frame.loc["lora", "ledger_peak_bytes"] == 400 * MIB
    assert frame.loc["lora", "planned_peak_bytes"] == 404 * MIB
    assert frame.loc["lora", "plan_error_percent"] == pytest.approx(1.0)
    assert frame.loc["lora", "ledger_peak_phase"] == "backward"
    assert frame.loc["lora", "ledger_peak_activations_bytes"] == 300 * MIB
    assert frame.loc["full", "planned_peak_bytes"] == 9 * 1024 * MIB


def test_what_was_skipped_and_what_is_missing_say_why(results: Path) -> None:
    text = report(results, ["s"], "markdown", "memory")
    assert cells(text, "full")["status"] == f"skipped: {CAUSE}"
    assert cells(text, "lora")["planned against counted [%]"] == "+1.00"
    assert "base weights" in text
    assert "KV cache" not in text  # nobody holds any
    assert "cannot be planned" in text
    assert "memory ran out" in text
    assert "BLEU" not in text
