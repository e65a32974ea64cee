"""Training speed from the lines of a curve."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness.measure.noise import SHORTEST
from harness.results.sections import STEP_PARTS, Machine, Throughput


def throughput(curve: Sequence[dict[str, float]], warm_up: int, gemm: float) -> Throughput | None:
    """Median and spread over the steps after the warm-up; None where fewer than three are left. `gemm`: the device's
    peak in floating-point operations per second."""
    timed = [line for line in curve if line["step"] > warm_up]
    if len(timed) < 3:
        return None
    speeds = [line["tokens"] / line["seconds"] for line in timed]
    low, speed, high = statistics.quantiles(speeds, n=4, method="inclusive")
    seconds = [line["seconds"] for line in timed]
    # A checkpoint of an earlier version has neither parts nor operations.
    counted = [line for line in curve if "flops" in line]
    per_token = sum(line["flops"] for line in counted) / sum(line["tokens"] for line in counted) if counted else None
    per_second = None if per_token is None else per_token * speed
    return Throughput(
        tokens_per_second=speed,
        samples_per_second=statistics.median(line["samples"] / line["seconds"] for line in timed),
        tokens_per_second_iqr=high - low,
        timed_steps=len(timed),
        step_seconds_p50=statistics.median(seconds),
        step_seconds_p95=statistics.quantiles(seconds, n=20, method="inclusive")[-1],
        shares=_shares(timed),
        flops_per_token=per_token,
        flops_per_second=per_second,
        gemm_flops_per_second=gemm,
        utilization=None if per_second is None else per_second / gemm,
    )


def _shares(timed: Sequence[dict[str, float]]) -> dict[str, float] | None:
    known = [line for line in timed if "data_seconds" in line]
    sums = {part: sum(line[f"{part}_seconds"] for line in known) for part in STEP_PARTS}
    return {part: seconds / sum(sums.values()) for part, seconds in sums.items()} if known else None


def timing_reasons(speed: Throughput | None, machine: Machine | None, warm_up: int) -> dict[str, str]:
    """Why fields of a record's throughput and machine are null."""
    if machine is None:
        return dict.fromkeys(["throughput", "machine"], "nothing is trained")
    reasons = {}
    if speed is None:
        reasons["throughput"] = f"fewer than 3 steps after {warm_up} of warm-up"
    elif speed.flops_per_token is None:
        names = ["flops_per_token", "flops_per_second", "utilization", *([] if speed.shares else ["shares"])]
        reasons |= {f"throughput.{name}": "continued from a checkpoint of an earlier version" for name in names}
    if machine.others is None:
        why = f"training took less than {SHORTEST:g} s" if machine.seconds < SHORTEST else "this system does not tell"
        reasons |= {"machine.steal": why, "machine.others": why}
    if machine.load is None:
        reasons["machine.load"] = "this system does not tell"
    return reasons
