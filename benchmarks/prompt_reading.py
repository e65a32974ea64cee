"""How long reading a batch of prompts takes, with hidden states that lie together before the output head and without.

`harness.prepare.forward.states_together` sees to the former. Reads 32 prompts of 80 tokens with the embedded model on
one core,
keeping the scores of the last position alone, as generation does. Run it alone.
"""

from __future__ import annotations

import statistics
import time

import torch

from benchmarks.output import quiet
from harness.config.compose import compose_settings
from harness.measure.peak_memory import Meter
from harness.prepare.base_model import load_base

REPEATS = 3


def main() -> None:
    """Print a line for each precision and way."""
    quiet()
    torch.set_num_threads(1)
    ids = torch.randint(100, 40_000, (32, 80), generator=torch.Generator().manual_seed(0))
    for dtype in ("bf16", "fp32"):
        model, _ = load_base(compose_settings(["tracker=none", "device=cpu", f"dtype={dtype}"]))
        model.requires_grad_(False).eval()
        meter = Meter("cpu")
        together = read(model, ids, meter)
        model.get_output_embeddings()._forward_pre_hooks.clear()
        apart = read(model, ids, meter)
        for name, (scores, seconds, peak) in (("together", together), ("apart", apart)):
            equal = torch.equal(scores, together[0])
            above = "" if peak is None else f", {peak / 2**20:,.0f} MiB above the base"
            print(f"{dtype}, {name}: {seconds:.2f} s{above}; scores equal: {equal}", flush=True)


@torch.no_grad()
def read(model: torch.nn.Module, ids: torch.Tensor, meter: Meter) -> tuple[torch.Tensor, float, int | None]:
    """The last position's scores, the median of the seconds, and the peak resident set above the base."""
    meter.start()
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        scores: torch.Tensor = model(input_ids=ids, logits_to_keep=1, use_cache=True).logits
        found.append(time.perf_counter() - began)
    return scores, statistics.median(found), meter.peak().rss_growth


if __name__ == "__main__":
    main()
