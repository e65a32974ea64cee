"""Training speed from the lines of a curve."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness.sections import Throughput


def throughput(curve: Sequence[dict[str, float]], warm_up: int) -> Throughput | None:
    """Median and spread over the steps after the warm-up; None where fewer than three are left."""
    timed = [line for line in curve if line["step"] > warm_up]
    if len(timed) < 3:
        return None
    tokens = [line["tokens"] / line["seconds"] for line in timed]
    low, _, high = statistics.quantiles(tokens, n=4, method="inclusive")
    return Throughput(
        tokens_per_second=statistics.median(tokens),
        samples_per_second=statistics.median(line["samples"] / line["seconds"] for line in timed),
        tokens_per_second_iqr=high - low,
        timed_steps=len(timed),
    )
