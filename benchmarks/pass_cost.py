"""What a forward and backward pass costs whatever its size, in tokens: `harness.prepare.batch.PASS_COST`.

A line is fitted to the seconds of passes of many sizes, by least relative squares; at zero tokens it gives the cost of
a pass itself. LoRA r=8 on the embedded model. Run it alone: `python -m benchmarks.pass_cost`.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from benchmarks.sides import HarnessSide
from harness.config.compose import compose_settings
from harness.host.environment import usable_cores
from harness.prepare.batch import Encoded, collate


def main() -> None:
    """Print a line for each precision."""
    torch.set_num_threads(usable_cores())
    for dtype in ("fp32", "bf16"):
        side = HarnessSide(compose_settings(["method=lora", "tracker=none", "device=cpu", f"dtype={dtype}"]))
        sizes = [(rows, length) for rows in (1, 2, 4, 8) for length in (32, 48, 64, 96)]
        seconds = [median_seconds(side, rows, length) for rows, length in sizes]
        terms = np.array([[1, rows * length] for rows, length in sizes]) / np.array(seconds)[:, None]
        fixed, each = np.linalg.lstsq(terms, np.ones(len(sizes)), rcond=None)[0]
        print(
            f"{dtype}: {fixed * 1e3:.0f} ms a pass, {each * 1e3:.2f} ms a token: {fixed / each:.0f} tokens", flush=True
        )


def median_seconds(side: HarnessSide, rows: int, length: int, repeats: int = 5) -> float:
    """Seconds of a pass over `rows` texts of `length` tokens, half of them scored."""
    batch = collate([Encoded(tuple(range(100, 100 + length)), scored_from=length // 2)] * rows, side.task.pad)
    found = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        side.forward.loss_sum(batch).backward()
        found.append(time.perf_counter() - began)
    return statistics.median(found[1:])


if __name__ == "__main__":
    main()
