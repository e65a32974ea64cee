"""The runs of results folders: each once, with its sweeps; what stands beside its record."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from harness.errors import UserError
from harness.results.folder import RunFolder
from harness.results.sweep_files import read_sweep, recorded_sweeps, told
from reports.read.run import NOT_RUN, Run
from reports.read.runs import all_runs, is_results
from reports.read.runs import folders as result_folders
from reports.statistics.scores import chosen_by

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


def folders(paths: Sequence[Path]) -> list[Path]:
    """The results folders among those given, or below them. Raises UserError where there is none in one."""
    found = result_folders(paths)
    if bare := [path for path in found if not is_results(path)]:
        raise UserError(f"--results {bare[0]}: no runs there; run one (python -m harness) or name another folder")
    return found


def collect(results: Iterable[Path]) -> tuple[list[Shown], list[str]]:
    """The runs of the folders, and what is wrong with files that are no row. A run that several folders hold alike is
    one row; where its records differ, each is one and says so."""
    rows: list[Shown] = []
    problems: list[str] = []
    for folder in results:
        more, wrong = _rows(folder)
        rows += more
        problems += wrong
    by_id: dict[str, list[Shown]] = defaultdict(list)
    for row in rows:
        alike = [other for other in by_id[row.run.id] if other.run.record == row.run.record]
        if not (alike and row.run.record):
            by_id[row.run.id].append(row)
    shown = []
    for same in by_id.values():
        held = [row for row in same if row.run.status != NOT_RUN] or same[:1]
        note = f"recorded differently in {len(held)} folders" if len(held) > 1 else ""
        shown += [replace(row, note="; ".join(filter(None, (note, _how_tuned(row.run))))) for row in held]
    return shown, problems


def kind_of_rate(run: Run) -> str:
    """What the page filters runs by where a sweep tuned them; empty where none did."""
    if run.tuned is None or run.tuned.value is None:
        return ""
    if run.tuned.default:
        return "own, beside a tuned one"
    return "tuned, at the edge of its grid" if run.tuned.edge else "tuned"


def _how_tuned(run: Run) -> str:
    """How a run came by its rate, where a sweep tuned it."""
    if run.tuned is None:
        return ""
    if run.tuned.default:
        return f"at its own {run.tuned.setting}, beside the chosen {run.tuned.value:g}"
    if run.tuned.value is None:
        return f"{run.tuned.setting}: every trial failed"
    by = chosen_by([run.tuned])
    return f"{run.tuned.setting} chosen by {by}{', at the edge of its grid' if run.tuned.edge else ''}"


def _rows(results: Path) -> tuple[list[Shown], list[str]]:
    """The runs of one folder: those of its sweeps in their order, then those that are in none."""
    recorded = {run.id: run for run in all_runs(results)} if RunFolder.all_of(results) else {}
    listed: dict[str, Run] = {}
    sweeps: dict[str, list[str]] = defaultdict(list)
    problems: list[str] = []
    for name in recorded_sweeps(results):
        try:
            for row in read_sweep([results], name)["runs"]:
                run, label, overrides = row["id"], row["label"], row["overrides"]
                known = recorded.get(run) or Run(run, label, overrides, RunFolder.of(results, run))
                first = listed.setdefault(run, replace(known, label=label, overrides=overrides))
                tuned = row.get("tuned")
                if told(tuned) > told(first.tuned):  # a sweep that tuned nothing may list it too
                    listed[run] = replace(first, tuned=tuned)
                sweeps[run].append(name)
        except UserError as error:
            problems += error.problems
    # Listed runs keep their place and what the sweep calls them.
    return [Shown(run, results, tuple(sweeps[run.id])) for run in (listed | recorded | listed).values()], problems


def curve(folder: RunFolder, most: int = POINTS) -> dict[str, list[list[float]]]:
    """By name, the points (step, value) of training and validation loss, about `most` of each."""
    try:
        text = folder.curve.read_text(encoding="utf-8").splitlines()
        every = max(1, -(-len(text) // most))
        texts = [line for i, line in enumerate(text) if i % every == 0 or i == len(text) - 1 or '"val_loss"' in line]
        content = json.loads(f"[{','.join(texts)}]")
    except (OSError, ValueError, RecursionError):
        return {}
    curves: dict[str, list[list[float]]] = {}
    for name in ("loss", "val_loss"):
        points = [
            [line["step"], round(value, 4)]
            for line in content
            if isinstance(line, dict) and isinstance(value := line.get(name), (int, float)) and math.isfinite(value)
            if isinstance(line.get("step"), int)
        ]
        if points:
            curves[name] = points
    return curves


def predictions(folder: RunFolder, most: int) -> list[tuple[int, str]]:
    """Index and text of the first predictions of a run; none where they are absent or not readable."""
    try:
        with folder.predictions.open(encoding="utf-8") as file:
            lines = json.loads(f"[{','.join(line for line in islice(file, most) if line.strip())}]")
    except (OSError, ValueError, RecursionError):
        return []
    return [
        (index, text)
        for line in lines
        if isinstance(line, dict)
        if isinstance(index := line.get("index"), int) and isinstance(text := line.get("prediction"), str)
    ]
