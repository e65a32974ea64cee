"""What the harness adds to a training step: its Trainer beside a bare loop, step by step on the same batches.

Both sides train one model (LoRA r=8 on all linear layers) in turns, on one batch after another. The one that goes first
changes with each batch, and the times of two batches are compared, since the one that goes second is slower. Each has a
fused AdamW of its own, at a learning rate so small that their losses must agree.

- bare: forward (logits where there is a label), backward, clipping, optimizer, on batches that lie ready. Nothing else.
- harness: all that a run does for a step: encoding and padding the batch, clock and counts, the loss brought to the
  host and the gradient's norm, both checked to be finite, the schedule, a line of the curve, the live view.

The goal is at most 2% of a step on the embedded model. A step of the tiny one is short, so that what the harness adds
stands out.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import bootstrap

from benchmarks.output import add_common, deliver, machine, quiet
from benchmarks.sides import HarnessSide
from harness.config.compose import compose_settings
from harness.config.run_settings import RunSettings
from harness.errors import run_command
from harness.host.environment import fingerprint, usable_cores
from harness.launch.progress_file import ProgressFile
from harness.prepare.batch import Batch, by_length, collate
from harness.training.optimizer import make_optimizer
from harness.training.trainer import WARM_UP, Trainer, TrainingData

MODELS = {"embedded": "smollm2_135m", "tiny": "tiny_random"}
GOAL = 0.02
LOSS_TOLERANCE = 1e-4
"""Nats a token by which the two sides may differ on a batch."""
RATE = 1e-12
"""Learning rate: the optimizer does its work and moves nothing that shows."""


def run_settings(args: argparse.Namespace, model: str) -> RunSettings:
    """The settings of this benchmark with one of the models. Raises UserError."""
    return compose_settings(
        [
            f"model={MODELS[model]}",
            "method=lora",
            "method.rank=8",
            f"method.lr={RATE}",
            "targets=all_linear",
            "tracker=none",
            "device=cpu",
            f"dtype={args.dtype}",
            f"train.steps={args.steps + WARM_UP + 1}",  # the last step ends with a validation, so it is left out
            f"train.batch_size={args.batch_size}",
            "train.schedule=constant",
            "train.warmup_steps=0",
            "train.validate_every=null",
            "train.validation_examples=1",
            "train.checkpoint_every=1000000",
            "train.max_length=1024",
        ]
    )


class Bare:
    """The loop that there is without the harness."""

    def __init__(self, side: HarnessSide) -> None:
        train = side.settings.train
        self.parameters = [p for p in side.model.parameters() if p.requires_grad]
        self.clip_norm = train.clip_norm or math.inf
        self.forward, groups = side.forward, side.settings.method.parameter_groups(side.model)
        self.optimizer = make_optimizer(train.optimizer, groups, train.weight_decay)

    def step(self, group: Sequence[Batch], labels: int) -> tuple[float, float]:
        """Seconds of a step, and its loss."""
        began = time.perf_counter()
        losses = []
        for batch in group:
            loss = self.forward.loss_sum(batch) / labels
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - began
        return seconds, sum(loss.item() for loss in losses)


def measure(args: argparse.Namespace, model: str) -> dict[str, Any]:
    """Every timed step of both sides."""
    settings = run_settings(args, model)
    side = HarnessSide(settings)
    steps = settings.train.steps
    bare_steps: list[tuple[float, float]] = []
    ends: list[float] = []
    with TemporaryDirectory() as folder:
        live = ProgressFile(Path(folder) / "progress.json")
        batches = side.task.batches(args.batch_size, settings.seed)
        trainer = Trainer(
            side.forward,
            settings.method,
            settings.train,
            TrainingData(side.task.batches(args.batch_size, settings.seed), side.task.pad, side.task.validation),
            Path(folder) / "checkpoint.pt",
            keep_best=False,
        )
        groups = [
            [collate(part, side.task.pad) for part in by_length(each, trainer.pass_cost)]
            for each in islice(batches, steps)
        ]
        bare = Bare(side)
        began: list[float] = []

        def bare_step() -> None:
            group = groups[len(bare_steps)]
            bare_steps.append(bare.step(group, sum(len(batch.targets) for batch in group)))

        def before_step() -> None:
            if len(ends) % 2 == 0:
                bare_step()
            began.append(time.perf_counter())

        def after_step(line: dict[str, float]) -> None:
            live.write({"steps": steps} | line)  # as a run does it
            ends.append(time.perf_counter())
            if len(ends) % 2 == 0:
                bare_step()
            print(f"\r{model}: step {len(ends)} of {steps}", end="", file=sys.stderr, flush=True)

        curve = trainer.run(before_step, after_step).curve
    print(file=sys.stderr)
    timed = slice(WARM_UP, steps - 1)
    apart = max(abs(line["loss"] - loss) for line, (_, loss) in zip(curve, bare_steps, strict=True))
    return {
        "model": settings.model.describe(),
        "dtype": settings.precision,
        "harness": [end - start for start, end in zip(began, ends, strict=True)][timed],
        "bare": [seconds for seconds, _ in bare_steps][timed],
        "data": [line["data_seconds"] for line in curve][timed],
        "largest_loss_difference": apart,
    }


def overhead(harness: NDArray[np.float64], bare: NDArray[np.float64]) -> dict[str, Any]:
    """What the harness adds, as a share of the bare loop's time: median over pairs of steps, in one of which it went
    first, and of all time, with 95% intervals over the pairs."""
    harness, bare = (each.reshape(-1, 2).sum(axis=1) for each in (harness, bare))

    def middle(x: NDArray[np.float64], y: NDArray[np.float64], axis: int = -1) -> Any:
        return np.median(x / y, axis=axis) - 1

    def whole(x: NDArray[np.float64], y: NDArray[np.float64], axis: int = -1) -> Any:
        return x.sum(axis=axis) / y.sum(axis=axis) - 1

    found = {}
    for name, share in (("median", middle), ("total", whole)):
        interval = bootstrap(
            (harness, bare), share, paired=True, vectorized=True, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        found[name] = float(share(harness, bare))
        found[f"{name}_interval"] = [float(interval.low), float(interval.high)]
    return found


def render(result: dict[str, Any]) -> str:
    """The Markdown table and what it was measured with."""
    environment, arguments = result["environment"], result["arguments"]
    columns = ["model", "bare step [ms]", "added, median [ms]", "of which data [ms]", "added, median [%]"]
    lines = [f"| {' | '.join(columns)} | added, of all time [%] |", "|---" + "|--:" * 5 + "|"]
    for name, found in result["models"].items():
        added = np.subtract(found["harness"], found["bare"]).reshape(-1, 2).mean(axis=1)
        times = [1e3 * float(np.median(each)) for each in (found["bare"], added, found["data"])]
        shares = [
            f"{100 * found[kind]:.2f} [{', '.join(f'{100 * end:.2f}' for end in found[f'{kind}_interval'])}]"
            for kind in ("median", "total")
        ]
        lines.append(f"| {name} | {' | '.join(f'{each:.2f}' for each in times)} | {' | '.join(shares)} |")
    return "\n".join(
        [
            *lines,
            "",
            f"What the harness adds to a bare training step; 95% intervals by bootstrap over {arguments['steps'] // 2} "
            "pairs of steps, each step beside a bare one on the same batch. Goal on the embedded model: at most "
            f"{GOAL:.0%}.",
            "",
            "Added on purpose: batches are encoded and padded (data); the loss and the gradient's norm are brought to "
            "the host, and training ends where they are not finite; the curve; the live view.",
            "",
            *(f"- {name}: {found['model']}; {found['dtype']}" for name, found in result["models"].items()),
            f"- LoRA r=8 on all linear layers, {arguments['batch_size']} pairs in a step, restaurants",
            *machine(environment, environment["versions"]),
        ]
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Run it alone on the machine. Ends with 1 if the two sides' losses differ; never because of a time.",
    )
    parser.add_argument("--steps", type=int, default=60, help="timed steps of either side (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="pairs in a step (default: %(default)s)")
    parser.add_argument("--model", choices=[*MODELS, "both"], default="both", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="default: all usable cores")
    add_common(parser, "overhead")
    args = parser.parse_args(arguments)
    if args.steps < 4 or args.steps % 2 or min(args.batch_size, args.threads) < 1:
        parser.error("--steps must be even and at least 4, --batch-size and --threads at least 1")
    return args


def main() -> None:
    """Measure, print, write."""
    args = parse()
    quiet()
    torch.set_num_threads(args.threads)
    result: dict[str, Any] = {
        "arguments": {k: v for k, v in vars(args).items() if k != "output"},
        "environment": fingerprint("cpu", args.threads) | {"load_average": os.getloadavg()[0]},
        "models": {},
    }
    for model in MODELS if args.model == "both" else [args.model]:
        seconds = measure(args, model)
        result["models"][model] = seconds | overhead(np.array(seconds["harness"]), np.array(seconds["bare"]))
    deliver(render(result), result, args.output)
    apart = max(found["largest_loss_difference"] for found in result["models"].values())
    if apart > LOSS_TOLERANCE:
        sys.exit(f"error: losses differ by {apart:.2g}, more than {LOSS_TOLERANCE:g}")


if __name__ == "__main__":
    sys.exit(run_command(main))
