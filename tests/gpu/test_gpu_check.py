"""The check of the GPU, run where there is none: the same code on the CPU and a tiny shape."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_check
from harness.errors import UserError


def arguments(output: Path, device: str) -> argparse.Namespace:
    return argparse.Namespace(device=device, model="tiny_random", batch=2, length=32, output=str(output))


def test_it_runs_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {name: gpu_check.CASES[name] for name in ("qlora", "full, 8-bit AdamW")}
    monkeypatch.setattr(gpu_check, "CASES", chosen)
    said: list[str] = []
    assert gpu_check.run_all(arguments(tmp_path / "new" / "gpu.json", "cpu"), said.append) == 0
    content = json.loads((tmp_path / "new" / "gpu.json").read_text())
    assert list(content["cases"]) == ["qlora bf16", "full, 8-bit AdamW bf16"]
    for case in content["cases"].values():
        assert case["ledger_by_phase"] == case["planned_by_phase"]
        assert len(case["losses"]) == len(case["step_seconds_by_step"]) == gpu_check.TIMED
        assert case["max_memory_allocated"] is case["max_memory_reserved"] is case["deviation"] is None
    # Random weights know nothing: the loss is that of a guess among the characters.
    guess = torch.tensor(105.0).log().item()
    assert content["cases"]["qlora bf16"]["losses"][0] == pytest.approx(guess, abs=0.2)
    assert content["driver"] is None
    assert "about 0 s to go" in said[-2]


def test_paged_states_count_in_neither() -> None:
    case = {"planned": 1100, "paged": 50, "max_memory_allocated": 1000}
    assert gpu_check.deviation(case) == pytest.approx(0.05)
    assert gpu_check.deviation({"skipped": "predicted oom"}) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_it_says_that_there_is_no_gpu(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs an NVIDIA GPU and a CUDA build of torch"):
        gpu_check.run_all(arguments(tmp_path / "gpu.json", "cuda"), print)
    assert not (tmp_path / "gpu.json").exists()
