"""What can be checked on a GPU alone: `make gpu-check`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from harness.environment import gpu_name
from harness.results import Record

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(gpu_name() is None, reason="there is no CUDA device, or torch is a CPU build"),
]


def test_a_run_on_the_gpu_counts_the_allocators_memory(run_point: Callable[..., Record]) -> None:
    record = run_point("device=cuda", "method=lora")
    assert record.status == "ok", record.cause
    assert record.memory is not None
    assert record.memory.train_cuda_allocated
    assert record.memory.train_cuda_reserved is not None
    assert record.memory.train_cuda_reserved >= record.memory.train_cuda_allocated
    assert record.memory.train_rss_above_base is None
    assert not torch.cuda.is_initialized(), "this process must not touch the device"
