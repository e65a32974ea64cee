"""The gate measures a sweep, is quiet about no change, and finds one planted in the running harness."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.__main__ import main
from reports.gate.baseline import load

ROOT = Path(__file__).parents[1]
FEW = (
    *("method=ia3,lora", "train.steps=6", "train.validation_examples=4", "eval.test_examples=4"),
    *("eval.max_new_tokens=4", "forgetting.max_tokens=256"),
)
MEGABYTES = 16


def test_memory_held_by_the_running_harness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = ["--baseline", str(tmp_path / "baseline.yaml")]
    assert main(["baseline", "save", "gate", *FEW, *file, "--repeats", "3"]) == 0
    saved = load(tmp_path / "baseline.yaml")
    assert (saved.repeats, len(saved.runs), saved.overrides) == (3, 2, list(FEW))

    measures = ["--measures", "parameters", "memory", "quality"]  # timings depend on what else the machine does
    assert main(["regress", *file, *measures]) == 0, capfd.readouterr()

    monkeypatch.setenv("PYTHONPATH", str(ROOT / "benchmarks/planted"))
    monkeypatch.setenv("HARNESS_PLANT", "memory")
    monkeypatch.setenv("HARNESS_PLANT_BYTES", str(MEGABYTES * 2**20))
    capfd.readouterr()
    assert main(["regress", *file, *measures, "--format", "markdown", "--results", str(tmp_path / "kept")]) == 1
    rows = [line for line in capfd.readouterr().out.splitlines() if line.startswith("| regression")]
    assert len(rows) == 2
    for row in rows:
        assert "memory: train_rss_above_base" in row
        before, now = (int(cell.replace(",", "")) for cell in row.split(" | ")[3:5])
        assert now - before == pytest.approx(MEGABYTES * 2**20, rel=0.25)
    assert len(list((tmp_path / "kept").glob("regress-*/again/runs/*/record.json"))) == 6
