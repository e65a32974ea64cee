"""Whether a run still does what it did: to the bit on like hardware, within a bound elsewhere, each by name."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from reports.__main__ import main
from reports.gate.baseline import dump, parse
from reports.gate.compare import compare
from reports.gate.entries import Baseline, Entry, Machine
from reports.gate.history import Version, series, table
from reports.gate.repeats import BOUNDS, MEASURE
from reports.gate.show import junit, text
from tests.support.gate import version

ALIVE, DEAD = 5.2368, 5.4642
"""Validation loss of a LoRA and of the same one with its scaling at 0."""
HERE = Machine(device="cpu: x", threads=1, allocator=None, processor="x 1-2 avx2")
ELSEWHERE = Machine(device="cpu: y", threads=1, allocator=None, processor="y 1-2 avx2")


def entry(key: str, loss: float = ALIVE, **changed: object) -> Entry:
    given = {"key": key, "overrides": f"method={key}", "seed": 0, "dtype": "fp32", "exact": {"parameters.total": 7}}
    given |= {"quality": {"val_loss": loss}, "steps": "1-3", "losses": [loss + 0.2, loss + 0.1, loss]}
    return Entry.model_validate(given | {"predictions": "0" * 16} | changed)


def baseline(*entries: Entry, machine: Machine = HERE, **versions: str) -> Baseline:
    known = {"harness": "1", "peft": "1", "torch": "1", "transformers": "1"} | versions
    runs = {each.key: each for each in entries}
    return Baseline(sweep="gate", measured="2026-11-01", machine=machine, versions=known, repeats=1, runs=runs)


def moved(before: Baseline, after: Baseline) -> dict[str, str]:
    """The runs that moved, and what is said of them."""
    return {row.run: row.note for row in compare(before, after).of("moved")}


OTHERS = (entry("ia3", 5.1), entry("full", 4.9))
BEFORE = baseline(entry("lora"), *OTHERS)


def test_the_last_bit_of_one_loss_moves_that_run_alone() -> None:
    losses = [ALIVE + 0.2, math.nextafter(ALIVE + 0.1, 9), ALIVE]
    after = baseline(entry("lora", losses=losses), *OTHERS)
    assert not moved(BEFORE, BEFORE)
    assert list(found := moved(BEFORE, after)) == ["lora"]
    assert found["lora"].startswith("not to the bit: training loss from step 2; losses by up to 1.7e-16")
    assert "answers" in moved(BEFORE, baseline(entry("lora", predictions="1" * 16), *OTHERS))["lora"]
    loss = {"val_loss": math.nextafter(ALIVE, 0)}
    assert "validation loss" in moved(BEFORE, baseline(entry("lora", quality=loss), *OTHERS))["lora"]


@pytest.mark.parametrize("machine", [HERE, ELSEWHERE, HERE.model_copy(update={"threads": 2})])
@pytest.mark.parametrize("loss", [DEAD, 2 * ALIVE - DEAD])
def test_a_dead_method_is_named_on_any_machine_whichever_way_its_loss_goes(machine: Machine, loss: float) -> None:
    assert list(moved(BEFORE, baseline(entry("lora", loss), *OTHERS, machine=machine))) == ["lora"]


ROUNDED = 1 + BOUNDS["fp32"] / 2


@pytest.mark.parametrize(
    ("machine", "versions", "quiet"),
    [
        (HERE, {}, False),
        (HERE, {"peft": "2", "harness": "2", "sacrebleu": "2"}, False),  # what is tested is no excuse
        (HERE, {"torch": "2"}, True),
        (HERE, {"transformers": "2"}, True),
        (ELSEWHERE, {}, True),
        (HERE.model_copy(update={"threads": 2}), {}, True),
        (HERE.model_copy(update={"processor": "x 1-2 avx2 avx512f"}), {}, True),  # of one name, not one kind
        (HERE.model_copy(update={"processor": None}), {}, True),
    ],
)
def test_rounding_is_let_pass_where_the_arithmetic_may_be_another(
    machine: Machine, versions: dict[str, str], quiet: bool
) -> None:
    rounded = entry("lora", ALIVE * ROUNDED, predictions="1" * 16)
    after = baseline(rounded, *OTHERS, machine=machine, **versions)
    assert (not moved(BEFORE, after)) == quiet


def test_repeats_that_differ() -> None:
    """On a processor a run that did not repeat before is held to the bound, and one that no longer does has moved; on a
    GPU repeats must show that runs repeat at all."""
    unsteady, rounded = entry("lora", alike=False), entry("lora", ALIVE * ROUNDED)
    assert not moved(baseline(unsteady), baseline(rounded))
    assert moved(baseline(unsteady), baseline(entry("lora", DEAD)))
    assert (
        "its repeats differ" in moved(baseline(entry("lora", alike=True)), baseline(entry("lora", alike=False)))["lora"]
    )
    gpu = Machine(device="cuda: a GPU", threads=1, allocator=None)
    assert not moved(baseline(entry("lora"), machine=gpu), baseline(rounded, machine=gpu))
    alike = {"alike": True}
    assert moved(baseline(entry("lora", **alike), machine=gpu), baseline(rounded.model_copy(update=alike), machine=gpu))


def test_a_file_of_an_earlier_version_is_read_compared_and_said_to_be_old() -> None:
    bare = {"steps": "", "losses": [], "predictions": ""}
    old = HERE.model_copy(update={"processor": None})
    before = parse(dump(baseline(entry("lora", **bare), machine=old)), "old")
    assert not moved(before, baseline(entry("lora")))
    assert list(moved(before, baseline(entry("lora", DEAD)))) == ["lora"]
    found = compare(before, baseline(entry("lora")))
    assert any("save it anew" in remark for remark in found.remarks)


def test_full_precision_survives_the_file() -> None:
    third = baseline(entry("lora", 1 / 3, losses=[0.1 + 0.2, 2 / 3, 1e-17]))
    assert parse(dump(third), "b") == third


def test_a_run_whose_configuration_changed_is_said_first_and_fails_where_that_is_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rank 16 before, 12 now."""
    before, after = baseline(entry("lora r=16"), *OTHERS), baseline(entry("lora r=12"), *OTHERS)
    found = compare(before, after)
    assert [name for name, _ in found.absent] == ["lora r=16", "lora r=12"]
    for markdown in (False, True):
        first = text(found, before, after, markdown).splitlines()[0]
        assert "gate: 2 RUNS NOT COMPARED (lora r=16, lora r=12); " in first
    for strict in (False, True):
        suite = ET.fromstring(junit(found, "gate", strict))
        assert "2 RUNS NOT COMPARED" in suite.attrib["name"]
        assert len(suite.findall("testcase/failure")) == int(suite.attrib["failures"]) == 2 * strict
        assert len(suite.findall("testcase/skipped")) == int(suite.attrib["skipped"])
        assert len(suite.findall("testcase[@name='compared']/skipped")) == 2 * (not strict)
        assert len(suite.findall("testcase")) == int(suite.attrib["tests"])
    file = tmp_path / "baseline.yaml"
    file.write_text(dump(before))
    monkeypatch.setattr("reports.commands.baseline.of_folder", lambda results, sweep: after)
    command = ["baseline", "compare", "--baseline", str(file)]
    assert main(command) == 0
    assert main([*command, "--strict"]) == 1
    monkeypatch.setattr("reports.commands.baseline.of_folder", lambda results, sweep: before)
    assert main([*command, "--strict"]) == 0
    assert "NOT COMPARED" not in capsys.readouterr().out.splitlines()[-1]


def test_a_moved_run_fails_and_is_told_in_every_form() -> None:
    after = baseline(entry("lora", DEAD), *OTHERS)
    found = compare(BEFORE, after)
    said = text(found, BEFORE, after, markdown=False)
    assert "1 moved" in said.splitlines()[0]
    (line,) = [line for line in said.splitlines() if line.startswith("moved ")]
    assert " lora " in line
    assert "  5.2368  5.4642  +0.2274  " in line
    suite = ET.fromstring(junit(found, "gate"))
    (failed,) = [case for case in suite.findall("testcase") if case.find("failure") is not None]
    assert failed.attrib["classname"] == "gate.lora"


def test_a_history_marks_where_a_run_moved() -> None:
    days = [version(day, 7, 100) for day in (1, 2, 3)]
    losses = (ALIVE, ALIVE, DEAD)
    made = [
        day.model_copy(update={"machine": HERE, "runs": {"lora": entry("lora", loss)}})
        for day, loss in zip(days, losses, strict=True)
    ]
    versions = [Version(str(place), each) for place, each in enumerate(made)]
    found = series(versions)
    (one,) = [each for each in found if each.measure == MEASURE]
    assert one.moved == ("", "", "moved")
    assert "5.4642 ~" in table(versions, found)


GPU = Machine(device="cuda: x", threads=1, allocator=None)


@pytest.mark.parametrize("machine", [HERE, GPU])
def test_a_run_that_repeated_and_does_not_now_has_moved(machine: Machine) -> None:
    before, after = (baseline(entry("lora", alike=alike), machine=machine) for alike in (True, False))
    assert list(moved(before, after)) == ["lora"]
    assert "its repeats differ" in moved(before, after)["lora"]


@pytest.mark.parametrize(
    ("machine", "before", "after"), [(HERE, False, True), (HERE, False, False), (GPU, True, None), (GPU, None, True)]
)
def test_what_cannot_be_compared_is_said(machine: Machine, before: bool | None, after: bool | None) -> None:
    """A loss that doubles in bf16, of which repeats do not show that it could be the same to the bit."""
    old, new = (
        baseline(entry("lora", loss, dtype="bf16", alike=alike), machine=machine)
        for loss, alike in ((5.0, before), (10.0, after))
    )
    found = compare(old, new)
    (row,) = [row for row in found.rows if row.measure == MEASURE]
    assert (row.verdict, row.note) == ("not compared", "no bound for bf16, and its own repeats differ")
    assert "losses and answers of 1 runs: not compared (no bound for bf16" in text(found, old, new, False)


def test_a_run_without_a_trace_is_compared_by_its_last_loss() -> None:
    bare = {"losses": [], "steps": "", "predictions": ""}
    before = baseline(entry("lora", ALIVE, **bare), *OTHERS)
    assert list(moved(before, baseline(entry("lora", DEAD), *OTHERS))) == ["lora"]
    assert not moved(before, baseline(entry("lora", ALIVE * ROUNDED), *OTHERS))
