"""The runs of results folders: each once, with its sweeps; what stands beside its record."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError
from reports.read import NOT_RUN, Run, all_runs, load_sweep

POINTS = 200
"""Points of a curve that are kept."""


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
    return any(path.glob("runs/*/record.json")) or any(path.glob("sweeps/*.json"))


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
    listed: dict[str, Run] = {}
    sweeps: dict[str, list[str]] = defaultdict(list)
    problems: list[str] = []
    for path in sorted((results / "sweeps").glob("*.json")):
        try:
            for run in load_sweep(results, path.stem).runs:
                listed.setdefault(run.id, run)
                sweeps[run.id].append(path.stem)
        except UserError as error:
            problems += error.problems
    for run in all_runs(results) if any(results.glob("runs/*/")) else []:
        listed.setdefault(run.id, run)
    return [Shown(run, results, tuple(sweeps[run.id])) for run in listed.values()], problems


def lines(path: Path, most: int | None = None) -> list[dict[str, Any]]:
    """The first lines of a jsonl file that are objects; none where it is absent or not readable."""
    found: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if most is not None and len(found) >= most:
                    break
                if isinstance(told := json.loads(line), dict):
                    found.append(told)
    except (OSError, ValueError):
        return found
    return found


def curve(folder: Path) -> dict[str, list[list[float]]] | None:
    """By name, the points (step, value) of training and validation loss, at most `POINTS` of each."""
    told = lines(folder / "curve.jsonl")
    found = {}
    for name in ("loss", "val_loss"):
        points = [
            [line["step"], round(value, 5)]
            for line in told
            if isinstance(value := line.get(name), (int, float)) and isinstance(line.get("step"), int)
        ]
        every = -(-len(points) // POINTS) if points else 1
        if points:
            found[name] = points[::every] if points[-1] in points[::every] else [*points[::every], points[-1]]
    return found or None


def predictions(folder: Path, most: int) -> list[tuple[int, str]]:
    """Index and text of the first predictions of a run."""
    return [
        (index, text)
        for line in lines(folder / "predictions.jsonl", most)
        if isinstance(index := line.get("index"), int) and isinstance(text := line.get("prediction"), str)
    ]
