"""Rows of tables from made-up scores, and those of tables in Markdown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from harness.results.sweep_files import write_sweep
from tests.support.records import add, key, run_folder


def row(results: Path, name: str, values: Any, seed: int = 0, score: str = "accuracy", **given: Any) -> None:
    """A finished run whose score is the mean of these values; `given`: as of `key`, `lr` and `rank` of its method."""
    method = {"name": name} | {setting: given.pop(setting) for setting in ("lr", "rank") if setting in given}
    run = "-".join(map(str, (name, seed, *method.values()))).replace(" ", "")
    fields = {"key": key(method, settings__seed=None if name == "zero_shot" else seed, **given), "label": name}
    rate = method.get("lr", 1e-3)
    add(
        results,
        run,
        None,
        method,
        quality={"val_loss": 2.0 - float(np.mean(values)), score: float(np.mean(values))},
        learning_rate=rate,
        **fields,
    )
    lines = [json.dumps({"index": i, "prediction": "", score: float(v)}) + "\n" for i, v in enumerate(values)]
    (run_folder(results, run) / "predictions.jsonl").write_text("".join(lines))


def everything(results: Path) -> None:
    """A sweep `s` of every run there, labelled as its record is."""
    runs = sorted((results / "runs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    labels = {path.name: json.loads((path / "record.json").read_text())["label"] for path in runs}
    write_sweep(results, "s", "Q?", [{"id": i, "label": label, "overrides": ""} for i, label in labels.items()])


def right(share: float, seed: int, items: int = 200) -> Any:
    """Whether each item is right, for about this share."""
    return (np.random.default_rng(seed).random(items) < share).astype(float)


def rows_under(text: str, title: str) -> list[dict[str, str]]:
    """The rows of the Markdown table under this title, by heading."""
    part = text[text.index(f"## {title}") :].partition("\n## ")[0]
    lines = [re.split(r" *(?<!\\)\| *", line)[1:-1] for line in part.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]
