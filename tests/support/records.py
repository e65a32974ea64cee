"""Records as a harness would have written them, and the tables made of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sacrebleu
from sacrebleu.metrics.bleu import BLEU

from harness.results.folder import write_record
from harness.results.record import Record
from harness.results.sections import Memory, Parameters, Throughput
from harness.results.sweep_files import write_sweep
from reports.read.runs import load_sweep
from reports.statistics.verdicts import compare

WORDS = [*"abcdefghijklmnopqrst"]
EXAMPLES = 40
EMPTY = Parameters(trainable=0, added=0, total=1_000_000, adapter_bytes=0, full_copy_bytes=2_000_000)


def sentences(count: int, seed: int) -> list[str]:
    """Random sentences of 8 to 16 words."""
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, size=generator.integers(8, 17))) for _ in range(count)]


REFERENCES = sentences(EXAMPLES, seed=1)


def spoiled(share: float, seed: int) -> list[str]:
    """The references with about this share of their words replaced."""
    generator = np.random.default_rng(seed)
    return [
        " ".join(str(generator.choice(WORDS)) if generator.random() < share else word for word in text.split())
        for text in REFERENCES
    ]


def statistics(texts: Sequence[str]) -> list[list[int]]:
    """BLEU statistics of each text against its reference, by sacrebleu."""
    metric = BLEU(lowercase=True, effective_order=True)
    scores = [metric.sentence_score(text, [reference]) for text, reference in zip(texts, REFERENCES, strict=True)]
    return [[score.sys_len, score.ref_len, *score.counts, *score.totals] for score in scores]


def corpus_bleu(texts: Sequence[str]) -> float:
    """The witness."""
    return float(sacrebleu.corpus_bleu(list(texts), [REFERENCES], lowercase=True).score)


def key(method: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A key as the harness makes it; `changed` replaces dotted fields, with `__` for the dot."""
    trains = method["name"] != "zero_shot"
    made: dict[str, Any] = {
        "settings": {
            "method": method,
            "roles": ["q", "v"] if trains else [],
            "quantization": {"kind": "none", "double": False},
            "train": {"steps": 30, "batch_size": 8, "accumulation": 1, "optimizer": "adamw"}
            if trains
            else {"batch_size": 8},
            "eval": {"test_examples": EXAMPLES, "beams": 1, "max_new_tokens": 64},
            "dtype": "bf16",
            "seed": 0 if trains else None,
        },
        "model": {"name": "tiny"},
        "data": {"name": "restaurants", "sha256": "0123456789abcdef" * 4},
        "environment": {"versions": {"torch": "2.9.0", "peft": None}, "device": "cpu: a CPU", "threads": 2},
        "repeat": 0,
    }
    for path, value in changed.items():
        *above, last = path.split("__")
        place = made
        for name in above:
            place = place[name]
        place[last] = value
    return made


def add(
    results: Path, run: str, texts: Sequence[str] | None, method: dict[str, Any] | None = None, **given: Any
) -> Record:
    """Write a record, with predictions where there are texts; `given` replaces fields of the record."""
    method = method or {"name": run}
    fields: dict[str, Any] = {
        "id": run,
        "key": key(method),
        "status": "ok",
        "started": "2025-01-01T00:00:00+00:00",
        "seconds": {"total": 61.5},
        "model_description": "a tiny model",
        "method": method["name"],
        "label": run,
        "learning_rate": 1e-3,
        "parameters": EMPTY.model_copy(update={"trainable": 1234567, "total": 100_000_000, "adapter_bytes": 4_938_268}),
        "memory": Memory(train_rss_growth=3 * 2**20, evaluate_rss_growth=2**20),
        "throughput": Throughput(
            tokens_per_second=180.4, samples_per_second=4.0, tokens_per_second_iqr=2.0, timed_steps=20
        ),
        "test_examples": EXAMPLES,
        "baselines": {"join_slots": 23.4, "best_constant": 12.0},
    }
    if texts is not None:
        fields["quality"] = {"val_loss": 1.2345, "bleu": corpus_bleu(texts), "rougeL": 55.555}
        write_predictions(results, run, statistics(texts))
    record = Record.model_validate(fields | given)
    write_record(results, record)
    return record


def write_predictions(results: Path, run: str, rows: list[list[int]]) -> None:
    """predictions.jsonl beside the record."""
    folder = run_folder(results, run)
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"index": i, "prediction": "", "bleu": row}) + "\n" for i, row in enumerate(rows)]
    (folder / "predictions.jsonl").write_text("".join(lines))


def add_base(results: Path, texts: Sequence[str] | None = None) -> Record:
    """The zero-shot row, at about half of the words wrong."""
    return add(results, "zero_shot", texts or spoiled(0.5, seed=2), parameters=EMPTY, learning_rate=None)


def sweep(results: Path, *runs: str) -> None:
    """A sweep `s` of these runs, each labelled with its id."""
    write_sweep(
        results, "s", "What does it cost?", [{"id": run, "label": run, "overrides": f"method={run}"} for run in runs]
    )


def words(results: Path) -> dict[str, str]:
    """The verdict of each finished run."""
    return {run: verdict.word for run, verdict in compare(load_sweep(results, "s")).verdicts.items()}


# Rows and cells


def cells(text: str, row: str) -> dict[str, str]:
    """One row of the first Markdown table: heading -> cell."""
    lines = [
        [cell.strip() for cell in line.strip("|").split(" |")] for line in text.splitlines() if line.startswith("|")
    ]
    return next(dict(zip(lines[0], line, strict=True)) for line in lines if line[0] == row)


def run_folder(results: Path, run: str) -> Path:
    """The folder of one run."""
    return results / "runs" / run
