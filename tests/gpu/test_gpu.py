"""What can be checked on a GPU alone: `make gpu-check`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.host.environment import gpu_name
from harness.host.gpus import free_bytes, gpus
from harness.places import ROOT
from harness.results.record import Record
from tests.support.records import run_folder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(gpu_name() is None, reason="there is no CUDA device, or torch is a CPU build"),
]


def test_a_run_on_the_gpu_counts_the_allocators_memory(run_point: Callable[..., Record], tmp_path: Path) -> None:
    record = run_point("device=cuda", "method=lora")
    assert record.status == "ok", record.cause
    assert record.memory is not None
    assert record.memory.train_cuda_allocated
    assert record.memory.train_cuda_reserved is not None
    assert record.memory.train_cuda_reserved >= record.memory.train_cuda_allocated
    assert record.memory.train_rss_growth is None
    assert not torch.cuda.is_initialized(), "this process must not touch the device"
    log = (run_folder(tmp_path / "results", record.id) / "log.txt").read_text()
    assert any(f"CUDA_VISIBLE_DEVICES={gpu.device}" in log for gpu in gpus())


def test_the_driver_tells_its_memory() -> None:
    total, free = gpus()[0].total, free_bytes()
    assert total is None or (free is not None and 0 < free <= total)


def test_out_of_the_gpus_memory_says_the_peak(run_point: Callable[..., Record]) -> None:
    """A million tokens, of which each layer saves some hundred kilobytes: more than any card has."""
    record = run_point(
        "device=cuda", "model.hidden_size=4096", "data.size=16000", "train.batch_size=8192", "budget=1000TiB"
    )
    assert record.status == "oom", record.cause
    assert "in tensors on the GPU" in (record.cause or "")
    assert record.memory is not None
    assert record.memory.oom_cuda_allocated


LEDGER = """
import sys
import torch
from harness.config.compose import composed; from harness.config.validate import settings_from
from harness.memory.planner import measure, plan
settings = settings_from(composed(["model=tiny_random", "model.hidden_size=1024", "device=cuda", "tracker=none"]))
measure(settings)  # libraries take their workspaces
torch.cuda.empty_cache()
torch.cuda.reset_peak_memory_stats()
before = torch.cuda.memory_allocated()
measured = measure(settings).peak_bytes
print(torch.cuda.max_memory_allocated() - before, measured, plan(settings, None).peak_bytes)
"""


def test_the_ledger_counts_what_the_allocator_gave() -> None:
    """Up to the rests of large blocks that the allocator leaves on them (less than 1 MiB each), and the optimizer's
    state, which the ledger counts from the first forward pass on."""
    command = [sys.executable, "-c", LEDGER]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    allocated, measured, planned = map(int, result.stdout.split())
    assert allocated == pytest.approx(measured, rel=0.1)
    assert planned == pytest.approx(measured, rel=0.1)


def test_the_check_itself_on_a_tiny_shape(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--model", "tiny_random", "--length", "64"]
    output = tmp_path / "gpu.json"
    # Whether plans hold is not asked: cuBLAS's workspace is larger than such a model.
    subprocess.run([*command, "--output", str(output)], cwd=ROOT, check=False)
    content = json.loads(output.read_text())
    assert content["driver"]
    assert all(case["max_memory_reserved"] >= case["max_memory_allocated"] > 0 for case in content["cases"].values())
