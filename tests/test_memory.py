"""The memory meter, against tensors of known size."""

from __future__ import annotations

import sys

import pytest
import torch

from harness.measure.memory import Meter

MIB = 2**20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux alone")


def small_pieces(mib: int) -> list[torch.Tensor]:
    """Memory that the C library keeps when it is freed, since no piece is large enough for a mapping of its own."""
    return [torch.ones(MIB // 64) for _ in range(16 * mib)]  # 64 KiB each


def test_a_phase_counts_its_own_peak_and_not_the_last_ones() -> None:
    meter = Meter("cpu")
    meter.start()
    large = torch.ones(100 * MIB // 4)
    del large
    first = meter.peak().rss_above_base
    meter.start()
    held = torch.ones(10 * MIB // 4)
    second = meter.peak().rss_above_base
    assert held.numel()
    assert first is not None
    assert second is not None
    assert 99 * MIB < first < 115 * MIB
    assert second < 30 * MIB
    assert meter.process_peak
    assert meter.process_peak > first


def test_what_was_freed_before_is_not_part_of_the_base() -> None:
    left = small_pieces(200)
    keep = left[-1]  # holds the heap's end, so that the pieces before it stay with the process
    del left
    meter = Meter("cpu")
    meter.start()
    again = small_pieces(100)
    peak = meter.peak().rss_above_base
    assert len(again) + keep.numel()
    assert peak is not None
    assert peak > 90 * MIB
