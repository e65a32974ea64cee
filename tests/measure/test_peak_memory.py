"""The memory meter, against tensors of known size."""

from __future__ import annotations

import sys

import pytest
import torch

from harness.measure.peak_memory import Meter
from tests.support.pieces import MIB, small_pieces

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux alone")


def test_a_phase_counts_its_own_peak_and_not_the_last_ones() -> None:
    meter = Meter("cpu")
    meter.start()
    large = torch.ones(100 * MIB // 4)
    del large
    first = meter.peak().rss_growth
    meter.start()
    held = torch.ones(10 * MIB // 4)
    second = meter.peak().rss_growth
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
    peak = meter.peak().rss_growth
    assert len(again) + keep.numel()
    assert peak is not None
    assert peak > 90 * MIB
