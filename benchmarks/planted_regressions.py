"""Regressions planted in running code, and unchanged code measured twenty times: what the gate says of each.

`python -m benchmarks.planted_regressions --work FOLDER` writes docs/results/regressions.md. What FOLDER holds already
is not measured again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.results.folder import RunFolder
from reports.gate.baseline import measured
from reports.gate.compare import RESIDENT, compare
from reports.gate.entries import Baseline
from reports.gate.measure import allocator_settings, measure
from reports.gate.rows import Comparison
from reports.gate.show import text
from reports.read.run import Run
from reports.read.runs import load_sweep

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/results/regressions.md"
PLUGIN = ROOT / "benchmarks/planted"
FIRST, EACH, TIMES = 5, 3, 20
"""Repeats of the baseline, repeats of each comparison, comparisons of unchanged code."""
BLOCK = 4
"""Comparisons of unchanged code that are measured in one go."""
LIGHT = (
    *("method=full,houlsby,ia3,lora", "train.steps=10", "eval.test_examples=4", "eval.max_new_tokens=4"),
    *("forgetting.max_tokens=256", "train.validation_examples=4"),
)
"""The comparisons of memory and speed: few methods, little scoring."""
TRAIN_BASE = (
    *("model=tiny_random", "dtype=fp32", "threads=1", "tracker=none", "method=full", "method.lr=0.006"),
    *("train.steps=400", "train.batch_size=16", "train.validate_every=100", "train.validation_examples=16"),
    *("data.size=2400", "data.seed=1", "eval.test_examples=64", "eval.max_new_tokens=40", "keep_model=true"),
)
"""A base that has learned something, so that there are scores to lose."""


@contextlib.contextmanager
def planted(what: str, size: int = 0) -> Iterator[None]:
    """What is measured in the block has this planted."""
    before = dict(os.environ)
    os.environ |= {"PYTHONPATH": str(PLUGIN), "HARNESS_PLANT": what, "HARNESS_PLANT_BYTES": str(size)}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True)
class Demonstration:
    """The folder in which everything is measured."""

    work: Path

    def measured(self, name: str, overrides: Sequence[str], repeats: int, plants: str = "", size: int = 0) -> Path:
        """The results folder of this measurement, made unless it is there."""
        folder = self.work / name
        if not (folder / "allocator.txt").exists():
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            with planted(plants, size):
                measure("gate", overrides, range(repeats), folder)
        return folder

    def base(self) -> str:
        """The folder of a model that has been trained on the data."""
        results = self.work / "base"
        subprocess.run(
            [sys.executable, "-m", "harness", *TRAIN_BASE, f"results={results}"], check=True, stdout=sys.stderr
        )
        (record,) = results.glob("runs/*/record.json")
        return str(RunFolder.of(results, record.parent.name).path / "model")


def of(folder: Path, repeats: Sequence[int]) -> Baseline:
    """What these repeats in a folder measured."""

    def within(run: Run) -> bool:
        return run.record is not None and run.record.key["repeat"] in repeats

    runs = [run for run in load_sweep(folder, "gate").runs if within(run)]
    return measured(runs, "gate", allocator_settings())


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--beside", default="nothing", help="what else ran on the machine, for the page")
    parser.add_argument("--times", type=int, default=TIMES, help="comparisons of unchanged code; default: %(default)s")
    options = parser.parse_args()
    made = Demonstration(options.work.resolve())

    scored = ["model=path", f"model.path={made.base()}", "data.seed=1", "data.metrics=[rouge]"]
    sound, broken = (made.measured(f"quality{n}", scored, 1, p) for n, p in (("", "none"), ("-planted", "quality")))
    quality = of(sound, [0]), of(broken, [0])

    first = of(made.measured("first", LIGHT, FIRST, "none"), range(FIRST))
    size = round(0.02 * median(median(entry.memory[RESIDENT]) for entry in first.runs.values()))
    slower = of(made.measured("step-planted", LIGHT, EACH, "step"), range(EACH))
    more = of(made.measured("memory-planted", LIGHT, EACH, "memory", size), range(EACH))
    again = []
    for n in range(options.times):
        unchanged = made.measured(f"unchanged-{n // BLOCK}", LIGHT, EACH * BLOCK, "none")
        place = EACH * (n % BLOCK)
        again.append(compare(first, of(unchanged, range(place, place + EACH))))
    found = {
        "memory": (compare(first, more), first, more),
        "step": (compare(first, slower), first, slower),
        "quality": (compare(*quality), *quality),
    }
    PAGE.write_text(page(found, again, first, size, options.beside), encoding="utf-8")
    print(PAGE)


def unchanged_lines(again: list[Comparison]) -> list[str]:
    """The section on comparisons of unchanged code."""
    alarms = [len(each.of("regression", "moved")) for each in again]
    better = sum(len(each.of("improvement")) for each in again)
    return [
        f"## No change, {len(again)} times",
        "",
        f"{EACH} repeats of each method against the same baseline, {len(again)} times one after another: "
        f"{sum(alarms)} regressions or moved runs and {better} improvements in "
        f"{sum(len(each.rows) for each in again)} tests, without the second measurement that `regress` makes before it "
        f"reports one. Comparisons with a false alarm: "
        f"{sum(n > 0 for n in alarms)} of {len(again)}; at most {again[0].alpha:.0%} are expected.",
        "",
    ]


def page(
    found: dict[str, tuple[Comparison, Baseline, Baseline]],
    again: list[Comparison],
    first: Baseline,
    size: int,
    beside: str,
) -> str:
    """The page of results."""
    titles = {
        "memory": f"Memory: training holds {size:,} bytes more, 2% of the median peak",
        "step": "Speed: each step works for a quarter longer",
        "quality": "Quality: decoding leaves out the first word of every seventh answer",
    }
    lines = [
        "# Regressions planted in running code",
        "",
        "What the gate (docs/regressions.md) says of three changes of the running harness, and of no change. "
        f"`python -m benchmarks.planted_regressions` made this page; the changes are in {PLUGIN.relative_to(ROOT)}. "
        f"Device: {first.machine.device}, threads: {first.machine.threads}. Beside it ran: {beside}.",
        "",
        f"The sweep is `gate`, on a model of two layers. Memory and speed: {len(first.runs)} methods, {FIRST} repeats "
        f"in the baseline, {EACH} now. Quality: all its methods, one run each, on a base that had been trained on "
        "the data for 400 steps.",
        "",
    ]
    lines += unchanged_lines(again) if again else []
    for name, (comparison, before, after) in found.items():
        lines += [f"## {titles[name]}", "", text(comparison, before, after, markdown=True).replace("### ", "")]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
