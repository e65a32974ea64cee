"""The harness against `transformers.Trainer` with PEFT: same model, same examples, side by side on the CPU.

Two comparisons, each repeated in rounds, since timings are noisy and only what ran side by side compares:

- identical batches: both sides train on the same batches with the same attention (sdpa); their losses must agree.
- defaults: the same examples as either side arranges them: the harness in batches of similar length and with its own
  choice of attention, the Trainer in random batches and with transformers' default attention.

LoRA r=8 on all linear layers. Each training starts from the same weights; its first steps are not timed. A step's time
is forward, backward and optimizer; making batches is outside it on both sides. Tokens are those of prompts and
completions, padding not counted.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import torch

from benchmarks.output import add_common, deliver, machine, quiet
from benchmarks.sides import Batches, HarnessSide, Training, UsualSide
from harness import data
from harness.config.compose import compose_settings
from harness.config.run_settings import RunSettings
from harness.errors import run_command
from harness.host.environment import fingerprint, installed, usable_cores
from harness.training.optimizer import trainable

MODELS = {"embedded": "smollm2_135m", "tiny": "tiny_random"}
GOALS = {"identical batches": 1.3, "defaults": 1.8}
"""Comparisons, and the ratio of tokens per second that each is meant to reach."""
LOSS_TOLERANCE = 1e-2
"""Nats a token by which the two sides may differ on identical batches."""


def reshuffle(batches: Batches, seed: int) -> Batches:
    """The same examples in batches of the same size, in random order."""
    examples, size = [example for batch in batches for example in batch], len(batches[0])
    random.Random(f"against trainer {seed}").shuffle(examples)
    return [examples[i : i + size] for i in range(0, len(examples), size)]


def run_settings(args: argparse.Namespace, attention: str) -> RunSettings:
    """The harness's settings of this benchmark, with an attention implementation. Raises UserError."""
    overrides = [
        f"model={MODELS[args.model]}",
        f"model.attention={attention}",
        "method=lora",
        "method.rank=8",
        "targets=all_linear",
        "tracker=none",
        "device=cpu",
        f"dtype={args.dtype}",
        f"train.steps={args.steps}",
        f"train.batch_size={args.batch_size}",
        f"train.warmup_steps={min(4, args.steps - 1)}",
        "train.validate_every=null",
        "train.validation_examples=1",
        "train.checkpoint_every=1000000",
        "train.max_length=1024",
    ]
    if args.data_path:
        overrides += ["data=e2e", f"data.path='{args.data_path}'"]
    return compose_settings(overrides)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Train both sides in every comparison and round: the environment, each training, and what they come to."""
    torch.set_num_threads(usable_cores())
    load = os.getloadavg()[0]
    same, defaults = run_settings(args, "sdpa"), run_settings(args, "auto")
    usual, ours_same, ours = UsualSide(same), HarnessSide(same), HarnessSide(defaults)
    bucketed = list(islice(ours.task.batches(args.batch_size, defaults.seed), args.steps))
    shuffled = reshuffle(bucketed, defaults.seed)
    plan: list[tuple[str, str, UsualSide | HarnessSide, Batches]] = [
        ("identical batches", "trainer", usual, shuffled),
        ("identical batches", "harness", ours_same, shuffled),
        ("defaults", "trainer", usual, shuffled),
        ("defaults", "harness", ours, bucketed),
    ]
    initial = {name: p.detach().clone() for name, p in trainable(usual.model).items()}
    rounds: list[dict[str, dict[str, Training]]] = []
    for number in range(args.rounds):
        found: dict[str, dict[str, Training]] = {name: {} for name in GOALS}
        # Every other round goes backwards, so that a machine that warms up favours neither side.
        for comparison, name, side, batches in plan if number % 2 == 0 else reversed(plan):
            start_from(side.model, initial)
            found[comparison][name] = training = side.train(batches)
            speed = training.median_speed(args.warm_up)
            print(f"round {number + 1}, {comparison}, {name}: {speed:.1f} tokens/s", file=sys.stderr, flush=True)
        rounds.append(found)
    speeds = [{name: found[name]["trainer"].median_speed(args.warm_up) for name in GOALS} for found in rounds]
    return {
        "model": defaults.model.describe(),
        "data": f"{defaults.data.name}, SHA-256 {data.load(defaults.data)[1][:12]}",
        "dtype": defaults.precision,
        "attention": [side.model.config._attn_implementation for side in (usual, ours_same, ours)],
        "arguments": {k: v for k, v in vars(args).items() if k not in ("output", "data_path")},
        "environment": fingerprint("cpu", None) | {"load_average": load},
        "comparisons": {name: compare(name, rounds, args.warm_up) for name in GOALS},
        "trainer_against_itself": [found["defaults"] / found["identical batches"] for found in speeds],
        "rounds": [{c: {s: asdict(t) for s, t in sides.items()} for c, sides in found.items()} for found in rounds],
    }


def start_from(model: torch.nn.Module, initial: dict[str, torch.Tensor]) -> None:
    """Give the trainable parameters their initial values."""
    parameters = trainable(model)
    assert parameters.keys() == initial.keys()
    for name, parameter in parameters.items():
        parameter.data.copy_(initial[name])


def compare(name: str, rounds: Sequence[dict[str, dict[str, Training]]], warm_up: int) -> dict[str, Any]:
    """Speeds (tokens per second) and their ratios in one comparison over its rounds."""
    pairs = [(found[name]["trainer"], found[name]["harness"]) for found in rounds]
    apart = [abs(a - b) for usual, ours in pairs for a, b in zip(usual.losses, ours.losses, strict=True)]
    return {
        "trainer": statistics.median(usual.median_speed(warm_up) for usual, _ in pairs),
        "harness": statistics.median(ours.median_speed(warm_up) for _, ours in pairs),
        "ratios": [ours.median_speed(warm_up) / usual.median_speed(warm_up) for usual, ours in pairs],
        "total_ratios": [ours.total_speed(warm_up) / usual.total_speed(warm_up) for usual, ours in pairs],
        "largest_loss_difference": max(apart) if name == "identical batches" else None,
    }


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def render(result: dict[str, Any]) -> str:
    """The Markdown table and what it was measured with."""
    environment, arguments, attention = result["environment"], result["arguments"], result["attention"]
    versions = environment["versions"] | {"accelerate": installed("accelerate")}
    columns = ["comparison", "Trainer, tokens/s", "harness, tokens/s", "ratio of medians", "ratio of totals", "goal"]
    lines = [f"| {' | '.join(columns)} | largest difference of a step's loss |", "|---" + "|--:" * 6 + "|"]
    for name, found in result["comparisons"].items():
        apart = found["largest_loss_difference"]
        ratios = f"{spread(found['ratios'])} | {spread(found['total_ratios'])} | {GOALS[name]}"
        loss = "other batches" if apart is None else f"{apart:.1e}"
        lines.append(f"| {name} | {found['trainer']:.1f} | {found['harness']:.1f} | {ratios} | {loss} |")
    return "\n".join(
        [
            *lines,
            "",
            "Tokens per second: median over the timed steps, then over rounds. Ratios: median (range) over "
            f"{arguments['rounds']} rounds, of the steps' medians and of all tokens by all seconds. "
            f"The Trainer against itself, which is the noise: {spread(result['trainer_against_itself'])}.",
            "",
            f"- {result['model']}; {result['dtype']}; data {result['data']}",
            f"- {arguments['steps']} steps of {arguments['batch_size']} pairs, {arguments['warm_up']} untimed",
            f"- attention: Trainer {attention[0]}; harness {attention[1]} (same batches), {attention[2]} (defaults)",
            *machine(environment, versions),
        ]
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.against_trainer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Run it alone on the machine. `taskset -c 0,1` in front of it holds it to two cores. Ends with 1 if the "
        "losses on identical batches differ; never because of a time.",
    )
    parser.add_argument("--steps", type=int, default=16, help="steps of each training (default: %(default)s)")
    parser.add_argument("--warm-up", type=int, default=2, help="first steps not timed (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of all trainings (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="pairs in a step (default: %(default)s)")
    parser.add_argument(
        "--model",
        choices=list(MODELS),
        default="embedded",
        help="embedded: SmolLM2-135M; tiny: random weights, tries the benchmark itself out (default: %(default)s)",
    )
    parser.add_argument("--data-path", metavar="FOLDER", help="E2E's CSV files, instead of the embedded restaurants")
    add_common(parser, "against_trainer")
    args = parser.parse_args(arguments)
    if min(args.rounds, args.batch_size) < 1 or not 0 <= args.warm_up < args.steps:
        parser.error("--rounds and --batch-size must be at least 1, and --warm-up less than --steps")
    return args


def main() -> None:
    """Measure, print, write."""
    args = parse()
    quiet()
    result = measure(args)
    deliver(render(result), result, args.output)
    apart = result["comparisons"]["identical batches"]["largest_loss_difference"]
    if apart > LOSS_TOLERANCE:
        sys.exit(f"error: losses on identical batches differ by {apart:.2g}, more than {LOSS_TOLERANCE:g}")


if __name__ == "__main__":
    sys.exit(run_command(main))
