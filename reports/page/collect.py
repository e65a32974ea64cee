"""The runs of results folders: each once, with its sweeps; what stands beside its record."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.results import read_sweep, recorded_sweeps, run_folder
from reports.read import NOT_RUN, Run, all_runs

POINTS = 200
"""Points of a curve that are kept, and of a page of more than `MANY` runs."""
MANY, FEW_POINTS = 1000, 50


@dataclass(frozen=True)
class Shown:
    """A row of the page."""

    run: Run
    results: Path
    sweeps: tuple[str, ...]
    note: str = ""
    """What a reader should know of where it comes from."""


def folders(given: Sequence[Path]) -> list[Path]:
    """The results folders among those given, or below them. Raises UserError where there is none in one."""
    found: dict[Path, None] = {}
    for path in given:
        below = [path] if _is_results(path) else sorted(each for each in path.glob("**/") if _is_results(each))
        if not below:
            raise UserError(f"--results {path}: no runs there; run one (python -m harness) or name another folder")
        found |= dict.fromkeys(below)
    return list(found)


def _is_results(path: Path) -> bool:
    return any(path.glob("runs/*/record.json")) or bool(recorded_sweeps(path))


def collect(results: Iterable[Path]) -> tuple[list[Shown], list[str]]:
    """The runs of the folders, and what is wrong with files that are no row. A run that several folders hold alike is
    one row; where its records differ, each is one and says so."""
    rows: list[Shown] = []
    problems: list[str] = []
    for folder in results:
        found, wrong = _rows(folder)
        rows += found
        problems += wrong
    by_id: dict[str, list[Shown]] = defaultdict(list)
    for row in rows:
        alike = [other for other in by_id[row.run.id] if other.run.record == row.run.record]
        if not (alike and row.run.record):
            by_id[row.run.id].append(row)
    kept = []
    for same in by_id.values():
        held = [row for row in same if row.run.status != NOT_RUN] or same[:1]
        note = f"recorded differently in {len(held)} folders" if len(held) > 1 else ""
        kept += [Shown(row.run, row.results, row.sweeps, note) for row in held]
    return kept, problems


def _rows(results: Path) -> tuple[list[Shown], list[str]]:
    """The runs of one folder: those of its sweeps in their order, then those that are in none."""
    recorded = {run.id: run for run in all_runs(results)} if any(results.glob("runs/*/")) else {}
    listed: dict[str, Run] = {}
    sweeps: dict[str, list[str]] = defaultdict(list)
    problems: list[str] = []
    for name in recorded_sweeps(results):
        try:
            for told in read_sweep([results], name)["runs"]:
                run, label, overrides = told["id"], told["label"], told["overrides"]
                found = recorded.get(run) or Run(run, label, overrides, run_folder(results, run))
                listed.setdefault(run, replace(found, label=label, overrides=overrides))
                sweeps[run].append(name)
        except UserError as error:
            problems += error.problems
    # Listed runs keep their place and what the sweep calls them.
    return [Shown(run, results, tuple(sweeps[run.id])) for run in (listed | recorded | listed).values()], problems


def lines(path: Path, most: int | None = None) -> list[dict[str, Any]]:
    """The first lines (`most`) of a jsonl file that are objects; none where it is absent or not readable."""
    try:
        with path.open(encoding="utf-8") as file:
            told = json.loads(f"[{','.join(line for line in islice(file, most) if line.strip())}]")
    except (OSError, ValueError):
        return []
    return [line for line in told if isinstance(line, dict)]


def curve(folder: Path, most: int = POINTS) -> dict[str, list[list[float]]]:
    """By name, the points (step, value) of training and validation loss, about `most` of each."""
    try:
        text = (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()
        every = max(1, -(-len(text) // most))
        kept = [line for i, line in enumerate(text) if i % every == 0 or i == len(text) - 1 or '"val_loss"' in line]
        told = json.loads(f"[{','.join(kept)}]")
    except (OSError, ValueError):
        return {}
    found: dict[str, list[list[float]]] = {}
    for name in ("loss", "val_loss"):
        points = [
            [line["step"], round(value, 4)]
            for line in told
            if isinstance(line, dict) and isinstance(value := line.get(name), (int, float)) and math.isfinite(value)
            if isinstance(line.get("step"), int)
        ]
        if points:
            found[name] = points
    return found


def predictions(folder: Path, most: int) -> list[tuple[int, str]]:
    """Index and text of the first predictions of a run."""
    return [
        (index, text)
        for line in lines(folder / "predictions.jsonl", most)
        if isinstance(index := line.get("index"), int) and isinstance(text := line.get("prediction"), str)
    ]
