"""What the order of training examples does to what a seed gives: batches of similar lengths, random ones, and ones with
a spread of lengths, beside `transformers.Trainer` on the random batches.

`python -m benchmarks.batch_order --data-path FOLDER` (E2E's own CSV files) trains LoRA r=8 on all linear layers of the
embedded model with each order and seed, and writes docs/results/batch_order.md. Run it alone: with 200 test inputs a
training takes two minutes on two cores, and with the Trainer four.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from scipy.stats import f

from benchmarks.output import machine, quiet
from benchmarks.sides import Batches, HarnessSide, UsualSide
from harness.config.compose import compose_settings
from harness.config.run_settings import RunSettings
from harness.evaluation.predict import predict, score_task
from harness.host.environment import fingerprint, usable_cores
from harness.prepare.forward import LabelForward

PAGE = Path(__file__).parents[1] / "docs/results/batch_order.md"
WINDOW = 32
"""Batches that were drawn together and sorted by length, as the harness did before 0.4.0."""

Pairs = Sequence[int]
"""Their lengths in letters."""


def by_length(pairs: Pairs, size: int, seed: int) -> Iterator[list[int]]:
    """Windows of random draws, sorted by length, cut into batches, and these shuffled."""
    chance = random.Random(f"by length {seed}")
    drawn: list[int] = []
    while True:
        while len(drawn) < WINDOW * size:
            drawn += chance.sample(range(len(pairs)), len(pairs))
        window, drawn = sorted(drawn[: WINDOW * size], key=pairs.__getitem__), drawn[WINDOW * size :]
        batches = [window[i : i + size] for i in range(0, len(window), size)]
        chance.shuffle(batches)
        yield from batches


def at_random(pairs: Pairs, size: int, seed: int) -> Iterator[list[int]]:
    """A random permutation an epoch, cut into batches."""
    chance = random.Random(f"at random {seed}")
    while True:
        order = chance.sample(range(len(pairs)), len(pairs))
        yield from (order[i : i + size] for i in range(0, len(order) - size + 1, size))


def stratified(pairs: Pairs, size: int, seed: int) -> Iterator[list[int]]:
    """In each batch one pair of each of `size` classes of length, each class in a random permutation an epoch."""
    chance = random.Random(f"stratified {seed}")
    ordered, share = sorted(range(len(pairs)), key=pairs.__getitem__), len(pairs) // size
    while True:
        strata = [chance.sample(ordered[k * share : (k + 1) * share], share) for k in range(size)]
        yield from (list(batch) for batch in zip(*strata, strict=True))


ORDERS: dict[str, Callable[[Pairs, int, int], Iterator[list[int]]]] = {
    "similar lengths": by_length,
    "random": at_random,
    "stratified": stratified,
}
TRAINER = "random, by transformers.Trainer"


@dataclass(frozen=True)
class Outcome:
    """One training."""

    order: str
    seed: int
    val_loss: float
    words: float
    """Of an answer, in the mean."""
    bleu: float
    tokens_per_second: float


def settings_of(args: argparse.Namespace, seed: int) -> RunSettings:
    """The run's settings."""
    return compose_settings(
        [
            *("method=lora", "method.rank=8", "method.lr=1e-3", "targets=all_linear", "tracker=none", "device=cpu"),
            *("data=e2e", f"data.path='{args.data_path}'", f"seed={seed}", f"train.steps={args.steps}"),
            *("train.validate_every=null", "train.checkpoint_every=1000000", "train.validation_examples=64"),
            f"eval.test_examples={args.examples}",
        ]
    )


def trained(args: argparse.Namespace, order: str, seed: int) -> Outcome:
    """One training, validated and scored as a run does."""
    settings = settings_of(args, seed)
    torch.manual_seed(seed)
    ours = HarnessSide(settings)
    task = ours.task
    pairs = [(example, reference) for example in task.train for reference in example.references]
    lengths = [len(example.source) + len(reference) for example, reference in pairs]
    size = settings.train.batch_size
    numbers = islice(ORDERS[order.partition(",")[0]](lengths, size, seed), settings.train.steps)
    batches: Batches = [[task.encoder.pair(*pairs[i]) for i in batch] for batch in numbers]
    side: UsualSide | HarnessSide = ours
    if order == TRAINER:
        torch.manual_seed(seed)
        side = UsualSide(settings)
    training = side.train(batches)
    side.model.eval()
    forward = LabelForward(side.model, ours.forward.dtype)
    loss = forward.mean_loss(task.validation)
    predictions = predict(task, settings.method.generate, side.model, forward, lambda done: None)
    words = statistics.fmean(len(prediction.text.split()) for prediction in predictions)
    bleu = score_task(task, predictions).quality["bleu"]
    assert bleu is not None
    return Outcome(order, seed, loss, words, bleu, training.median_speed(3))


def ratio(one: Sequence[float], other: Sequence[float]) -> str:
    """Of two standard deviations, with its 95% interval under normal values (F distribution)."""
    quotient = statistics.variance(one) / statistics.variance(other)
    low, high = f.ppf([0.975, 0.025], len(one) - 1, len(other) - 1)
    return f"{quotient**0.5:.2f} ({(quotient / low) ** 0.5:.2f} to {(quotient / high) ** 0.5:.2f})"


def render(args: argparse.Namespace, outcomes: Sequence[Outcome]) -> str:
    """The page."""
    names = [name for name in (*ORDERS, TRAINER) if any(each.order == name for each in outcomes)]
    fields = {"val_loss": "validation loss", "words": "words an answer", "bleu": "BLEU"}
    rows = {name: [each for each in outcomes if each.order == name] for name in names}
    lines = [
        "# The order of training examples",
        "",
        f"`python -m benchmarks.batch_order`: LoRA r=8 on all linear layers of the embedded model, rate 1e-3, E2E, "
        f"{args.steps} steps of 8 pairs, 64 validation pairs, {args.examples} test inputs. Mean and standard deviation "
        "over seeds; a seed decides the adapter's first weights and the order.",
        "",
        f"| order | seeds | {' | '.join(fields.values())} | tokens/s |",
        "|---|--:|" + "--:|" * (len(fields) + 1),
    ]
    for name, own in rows.items():
        values = {field: [getattr(each, field) for each in own] for field in fields}
        cells = [f"{statistics.fmean(v):.3f} ± {statistics.stdev(v):.3f}" for v in values.values()]
        speed = statistics.median(each.tokens_per_second for each in own)
        lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} | {speed:.0f} |")
    lines += ["", "Ratios of standard deviations with 95% intervals:", ""]
    lines += [f"| | {' | '.join(fields.values())} |", "|---|" + "--:|" * len(fields)]
    for one, other in (("similar lengths", "random"), ("random", "stratified"), ("random", TRAINER)):
        if one in rows and other in rows:
            cells = [ratio(*([getattr(e, field) for e in rows[name]] for name in (one, other))) for field in fields]
            lines.append(f"| {one} / {other} | {' | '.join(cells)} |")
    lines += [
        "",
        "Every training:",
        "",
        f"| order | seed | {' | '.join(fields.values())} | tokens/s |",
        "|---|--:|" + "--:|" * 4,
    ]
    for each in outcomes:
        numbers = f"{each.val_loss:.4f} | {each.words:.1f} | {each.bleu:.2f} | {each.tokens_per_second:.0f}"
        lines.append(f"| {each.order} | {each.seed} | {numbers} |")
    environment = fingerprint("cpu", None) | {"load_average": args.load}
    return "\n".join([*lines, "", *machine(environment, environment["versions"])])


def main() -> None:
    """Train everything, in turn, and write the page after each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-path", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--trainer-seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--output", type=Path, default=PAGE, metavar="FILE")
    parser.add_argument(
        "--outcomes", type=Path, default=Path("batch_order.jsonl"), metavar="FILE", help="where it goes on from"
    )
    args = parser.parse_args()
    quiet()
    torch.set_num_threads(usable_cores())
    args.load = os.getloadavg()[0]
    lines = args.outcomes.read_text().splitlines() if args.outcomes.exists() else []
    outcomes = [Outcome(**json.loads(line)) for line in lines]
    known = {(each.order, each.seed) for each in outcomes}
    began = time.perf_counter()
    for seed in range(args.seeds):
        names = [*ORDERS, *([TRAINER] if seed < args.trainer_seeds else [])]
        for name in names[seed % len(names) :] + names[: seed % len(names)]:
            if (name, seed) in known:
                continue
            outcomes.append(trained(args, name, seed))
            line = json.dumps(asdict(outcomes[-1]))
            with args.outcomes.open("a") as file:
                file.write(line + "\n")
            print(f"{time.perf_counter() - began:.0f} s: {line}", file=sys.stderr, flush=True)
        if seed:
            args.output.write_text(render(args, outcomes))


if __name__ == "__main__":
    main()
