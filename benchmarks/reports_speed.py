"""How long `python -m reports` takes over many records, and resampling over many examples.

Writes synthetic records into a temporary folder, times the command in processes of its own, and prints a table.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.metrics import of_sums
from harness.metrics.bleu import of_sums as bleu_of_sums
from harness.results.folder import RunFolder, read_record, run_id
from harness.results.record import Record
from harness.results.sweep_files import write_sweep
from reports.read.run import Run
from reports.read.runs import example_parts
from reports.statistics.paired import sample, scores_with_examples

ROOT = Path(__file__).parents[1]
REAL = ROOT / "docs" / "results" / "e2e"
METRICS = ("bleu", "nist", "meteor", "rouge_l", "cider", "ser")


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reports_speed", description=__doc__)
    parser.add_argument("--records", type=int, default=10_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--examples", type=int, default=32, metavar="N", help="of each record (default: %(default)s)")
    options = parser.parse_args()
    print("| what | seconds | of the processor |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as temporary:
        for examples in (0, options.examples):
            results = Path(temporary) / str(examples)
            write(results, options.records, examples)
            kept = f"with {examples} examples each" if examples else "without predictions"
            for form in ("markdown", "csv", "html"):
                table = ["s", "--table", "methods", "--results", str(results), "--format", form]
                command = [sys.executable, "-m", "reports", *table]
                timed(
                    f"table of {options.records:,} records {kept}, {form}",
                    resource.RUSAGE_CHILDREN,
                    lambda command=command: subprocess.run(command, cwd=ROOT, check=True, capture_output=True),
                )
        run = wide(Path(temporary) / "wide", 630)
        scores_with_examples(run)  # reads the file
        timed(
            f"1,000 resamples of {len(METRICS)} metrics over 630 examples",
            resource.RUSAGE_SELF,
            lambda: [sample([run], name) for name in METRICS],
        )


def timed(what: str, who: int, work: Callable[[], Any]) -> None:
    """Print the seconds that it takes, by the clock and of the processor."""

    def used() -> float:
        usage = resource.getrusage(who)
        return usage.ru_utime + usage.ru_stime

    start, before = time.perf_counter(), used()
    work()
    print(f"| {what} | {time.perf_counter() - start:.2f} | {used() - before:.2f} |", flush=True)


def write(results: Path, count: int, examples: int) -> None:
    """A sweep `s` of a zero-shot row and `count` less one others, made of a real record with other ranks and seeds."""
    base, lora = (
        next(read_record(p) for p in sorted(REAL.glob(f"runs/{m}-*/record.json"))) for m in ("zero_shot", "lora")
    )
    generator, listed = np.random.default_rng(0), []
    for number in range(count):
        record, key = (base, base.key) if number == 0 else (lora, json.loads(json.dumps(lora.key)))
        if number:
            key["settings"]["method"] |= {"rank": 1 + number // 5, "alpha": float(1 + number // 5)}
            key["settings"]["seed"] = number % 5
        label = f"lora r={1 + number // 5}" if number else "zero shot"
        rows = counts(generator, examples, 0.2 + 0.6 * min(number, 1) * generator.random())
        quality = dict(record.quality) | ({"bleu": bleu(rows)} if examples else {})
        name = run_id(record.method, key)
        made = record.model_copy(update={"id": name, "key": key, "label": label, "quality": quality})
        folder = RunFolder.of(results, name).path
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(made.model_dump_json(indent=1))
        if examples:
            lines = [json.dumps({"index": i, "prediction": "x" * 80, "bleu": row}) for i, row in enumerate(rows)]
            (folder / "predictions.jsonl").write_text("\n".join(lines) + "\n")
        listed.append({"id": name, "label": label, "overrides": ""})
    write_sweep(results, "s", "How long does it take?", listed)


def counts(generator: np.random.Generator, examples: int, share: float) -> list[list[int]]:
    """BLEU statistics of examples of which about this share of the words is right."""
    lengths = generator.integers(15, 30, size=(examples, 1))
    totals = lengths - np.arange(4)
    matches = generator.binomial(totals, share ** np.arange(1, 5))
    return [list(map(int, row)) for row in np.hstack([lengths, lengths, matches, totals])]


def bleu(rows: list[list[int]]) -> float:
    """Of these statistics."""
    return float(bleu_of_sums(np.sum(rows, axis=0)))


def wide(results: Path, examples: int) -> Run:
    """A run with the lines of a real one, repeated to as many examples."""
    path = next(path.parent for path in sorted(REAL.glob("runs/lora-*/record.json")))
    lines = [json.loads(line) for line in (path / "predictions.jsonl").read_text().splitlines()]
    lines = [lines[i % len(lines)] | {"index": i} for i in range(examples)]
    results.mkdir()
    (results / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record: Record = read_record(path / "record.json")
    run = Run(record.id, record.label, "", RunFolder(results), record=record)
    quality = {}
    for name, part in example_parts(run)[1].items():
        combine = of_sums(name)
        quality[name] = float(combine(part.sum(axis=0)) if combine else part.mean())
    return Run(record.id, record.label, "", RunFolder(results), record=record.model_copy(update={"quality": quality}))


if __name__ == "__main__":
    main()
