"""The gate measures a sweep, is quiet about no change, and finds what is planted in the running harness and in PEFT."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faulty_peft import FAULTS, faulty_copy
from reports.__main__ import main
from reports.gate.baseline import load
from reports.gate.compare import compare
from reports.gate.measure import of_folder

ROOT = Path(__file__).parents[2]
SMALL = (
    *("train.steps=6", "train.validation_examples=4", "eval.test_examples=4"),
    *("eval.max_new_tokens=4", "forgetting.max_tokens=256"),
)
FEW = ("method=lora", *SMALL)
MEGABYTES = 16


def test_memory_held_by_the_running_harness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = ["--baseline", str(tmp_path / "baseline.yaml")]
    assert main(["baseline", "save", "gate", *FEW, *file, "--repeats", "3"]) == 0
    saved = load(tmp_path / "baseline.yaml")
    assert (saved.repeats, len(saved.runs), saved.overrides) == (3, 1, list(FEW))

    measures = ["--measures", "parameters", "memory", "quality"]  # timings depend on what else the machine does
    assert main(["regress", *file, *measures]) == 0, capfd.readouterr()

    monkeypatch.setenv("PYTHONPATH", str(ROOT / "benchmarks/planted"))
    monkeypatch.setenv("HARNESS_PLANT", "memory")
    monkeypatch.setenv("HARNESS_PLANT_BYTES", str(MEGABYTES * 2**20))
    capfd.readouterr()
    assert main(["regress", *file, *measures, "--format", "markdown", "--results", str(tmp_path / "kept")]) == 1
    rows = [line for line in capfd.readouterr().out.splitlines() if line.startswith("| regression")]
    (row,) = rows
    assert "memory: train_rss_growth" in row
    before, now = (int(cell.replace(",", "")) for cell in row.split(" | ")[3:5])
    assert now - before == pytest.approx(MEGABYTES * 2**20, rel=0.25)
    assert len(list((tmp_path / "kept").glob("regress-*/again/runs/*/record.json"))) == 3


def test_faults_in_a_copy_of_peft_are_named_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A scaling of 0, factors that start the other way round, a bias left out, gradients of one layer at 0: each in a
    method of its own, beside one without a fault, which is the same to the bit. Processes of their own measure each
    time."""
    file = ["--baseline", str(tmp_path / "baseline.yaml")]
    methods = ("method=ia3,loha,lora,p_tuning,rslora", *SMALL)
    assert main(["baseline", "save", "gate", *methods, *file, "--repeats", "1"]) == 0
    quality = ["regress", *file, "--measures", "quality", "--format", "markdown", "--strict"]
    monkeypatch.setenv("PYTHONPATH", str(faulty_copy(tmp_path / "copy", list(FAULTS))))
    assert main([*quality, "--results", str(tmp_path / "kept")]) == 1
    said = capfd.readouterr().out
    rows = [line for line in said.splitlines() if line.startswith(("| moved", "| regression"))]
    named = {line.split(" | ")[1].removesuffix(" r=8") for line in rows}
    assert named == {"ia3", "loha", "p tuning", "rslora"}, said
    (dead,) = (line for line in rows if line.startswith("| regression"))
    assert "rslora" in dead, "nothing flows through a scaling of 0: the run's own check ends it"
    assert "none of the 28 trained tensors had a gradient" in dead

    (kept,) = (tmp_path / "kept").glob("regress-*")
    before, after = load(tmp_path / "baseline.yaml"), of_folder(kept, "gate")
    alike = [row.run.removesuffix(" r=8") for row in compare(before, after).of("same") if row.note == "to the bit"]
    assert alike == ["lora"]
    elsewhere = after.model_copy(update={"machine": after.machine.model_copy(update={"device": "cpu: another"})})
    away = {row.run.removesuffix(" r=8") for row in compare(before, elsewhere).of("moved", "regression")}
    assert away == named, "on another processor too"
