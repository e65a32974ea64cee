"""Sweeps, records and per-example scores, read from a results folder. A bad file is a row that says so, not a crash."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from harness.errors import UserError, shown
from harness.files import read_regular
from harness.results.checksums import changed
from harness.results.folder import RunFolder, UnreadableRecord, read_record, run_id
from harness.results.record import Record
from harness.results.sweep_files import read_sweep, recorded_sweeps, sweep_files
from reports.read.run import NOT_RUN, Run, once_each, one_of, told_apart

SINGLE = "single_runs"
"""What runs that no sweep asked for are asked for under."""
HASHED = re.compile(r".+-[0-9a-f]{12}")
"""An id that the harness made of a run's key."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """A named question and the runs that answer it, in the sweep's order."""

    name: str
    question: str
    runs: tuple[Run, ...]
    remarks: tuple[str, ...] = ()
    """What a table says of runs that are recorded more than once."""
    own: tuple[Run, ...] = ()
    """Of a tuned sweep the runs at the rows' own values, beside which what was chosen is shown."""
    split: bool = False
    """Its runs are of unlike machines, each of which has made others: rows may be of several."""

    @property
    def done(self) -> list[tuple[Run, Record]]:
        """The runs whose record is ok, with it."""
        return [(run, run.done) for run in self.runs if run.done is not None]

    @property
    def recorded(self) -> list[Record]:
        """Every record that could be read."""
        return [run.record for run in self.runs if run.record is not None]

    def count(self) -> dict[str, int]:
        """How many runs are done, failed (with an unreadable record too) and missing."""
        done = len(self.done)
        missing = sum(run.status == NOT_RUN for run in self.runs)
        return {"done": done, "failed": len(self.runs) - done - missing, "missing": missing}


class UnusablePredictions(ValueError):
    """Predictions that are absent or not what the record says; the message says why in one line."""


def is_results(path: Path) -> bool:
    """A folder holds runs, or what was asked of sweeps."""
    return any(folder.record.exists() for folder in RunFolder.all_of(path)) or bool(recorded_sweeps(path))


def folders(results: Path | Sequence[Path]) -> list[Path]:
    """One results folder or several, each once; in place of one that is none itself, those below it."""
    found: list[Path] = []
    for path in [results] if isinstance(results, Path) else results:
        below = [] if is_results(path) else sorted(each for each in path.glob("**/") if is_results(each))
        found += below or [path]
    return list(dict.fromkeys(found))


def listed(results: Path | Sequence[Path]) -> str:
    """The folders as a message names them."""
    return ", ".join(map(str, folders(results)))


def sweep_names(results: Path | Sequence[Path]) -> list[str]:
    """The names of the sweeps in results folders, sorted, and `SINGLE` where there are runs of none. Raises UserError
    where there is neither."""
    places = folders(results)
    names = sorted({name for folder in places for name in recorded_sweeps(folder)})
    names += [SINGLE] if SINGLE not in names and _single(places) else []
    if not names:
        raise UserError(
            f"{listed(results)}: no sweeps there; run one (python -m harness +sweep=NAME) or name another --results"
        )
    return names


def load_sweep(results: Path | Sequence[Path], name: str) -> Sweep:
    """What was asked under a sweep's name in any of the folders, with the records that any of them has, whatever the
    folders' order. Raises UserError where the sweep is absent or not one."""
    places = folders(results)
    alone = _single(places) if name == SINGLE and not has_sweep(places, SINGLE) else []
    listed: dict[str, Any] = {"question": "Runs that no sweep asked for.", "runs": alone}
    listed = listed if alone else read_sweep(places, name)
    chosen = [one_of([load_run(place, run) for place in places]) for run in listed["runs"]]
    once, more, split = once_each([run for run, _ in chosen])
    own = [run for run in once if run.tuned and run.tuned.default]
    shown = told_apart([run for run in once if run not in own], split)
    remarks = (*(remark for _, remark in chosen if remark), *more)
    return Sweep(name, listed["question"], shown, remarks, told_apart(own, split), split)


def has_sweep(results: Sequence[Path], name: str) -> bool:
    """Whether something was asked under a sweep's name in one of the folders."""
    return any(sweep_files(folder, name) for folder in folders(results))


def _single(places: Sequence[Path]) -> list[dict[str, Any]]:
    """The runs that no sweep of their folder asked for, as a sweep would list them, the earliest first."""
    found: dict[str, tuple[str, str]] = {}
    for place in places:
        asked = {run["id"] for name in recorded_sweeps(place) for run in _asked(place, name)}
        for run in (each.run for each in RunFolder.all_of(place) if each.run not in asked and each.record.exists()):
            record = load_run(place, {"id": run, "label": run, "overrides": ""}).record
            found.setdefault(run, (record.started, record.label) if record else ("", run))
    return [{"id": run, "label": found[run][1], "overrides": ""} for run in sorted(found, key=lambda run: found[run])]


def _asked(place: Path, name: str) -> list[dict[str, Any]]:
    """The runs that a sweep lists; none where its file cannot be read, which whoever asks for the sweep is told."""
    with suppress(UserError):
        return list(read_sweep([place], name)["runs"])
    return []


def all_runs(results: Path) -> list[Run]:
    """Every run folder of a results folder, by name, in a sweep or not; the label is the record's. Raises UserError
    where there is none."""
    folders = RunFolder.all_of(results)
    if not folders:
        raise UserError(f"{results}: no runs there; run one (python -m harness) or name another --results")
    runs = [load_run(results, {"id": each.run, "label": each.run, "overrides": ""}) for each in folders]
    return [replace(run, label=run.record.label) if run.record else run for run in runs]


def load_all(results: Path | Sequence[Path], names: Sequence[str]) -> list[Sweep]:
    """The sweeps, with a warning on stderr for each record that cannot be read. Raises UserError, once for all."""
    sweeps: list[Sweep] = []
    problems: list[str] = []
    for asked in dict.fromkeys(names):
        try:
            sweeps.append(load_sweep(results, asked))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*problems)
    for run in (run for sweep in sweeps for run in sweep.runs):
        problem: str | None = run.problem
        if problem is None and run.record and (name := changed(run.folder.path, "*.jsonl", run.folder.ledger.name)):
            problem = f"{run.folder.path / name}: not as the run left it; delete the run's folder and run again"
        if problem:
            print(shown(f"warning: {problem}"), file=sys.stderr)
    return sweeps


def load_run(results: Path, listing: dict[str, Any]) -> Run:
    """One run as a sweep lists it (`id`, `label`, `overrides`), with its record."""
    folder = RunFolder.of(results, str(listing["id"]))
    tuned = listing.get("tuned")
    run = Run(str(listing["id"]), str(listing["label"]), str(listing["overrides"]), folder, tuned=tuned)
    path = folder.record
    if not path.exists():
        return run
    try:
        record = read_record(path)
    except (UnreadableRecord, OSError) as error:
        return replace(run, problem=" ".join(str(error).split()))
    if record.id != run.id or (HASHED.fullmatch(record.id) and run_id(record.method, record.key) != record.id):
        # A record that was edited or put into another's folder would stand beside rows that it is not of.
        problem = f"{path}: its settings are not those of the run that its id names; delete it and run again"
        return replace(run, problem=problem)
    if changed(folder.path, path.name):
        return replace(run, problem=f"{path}: not as the run left it; delete it and run again")
    return replace(run, record=record)


def finite(value: float | None) -> float | None:
    """The value, or None for what is not a finite number: a report shows it as missing."""
    return value if value is not None and math.isfinite(value) else None


@contextmanager
def _reading() -> Iterator[None]:
    """What is wrong with predictions, in the block, is raised as UnusablePredictions."""
    try:
        yield
    except FileNotFoundError:
        raise UnusablePredictions("there is no predictions.jsonl beside the record") from None
    except KeyError as error:
        raise UnusablePredictions(f"predictions.jsonl has a line without {error}") from None
    except UnusablePredictions:
        raise
    except (OSError, ValueError, TypeError) as error:
        raise UnusablePredictions(f"predictions.jsonl is not readable ({' '.join(str(error).split())})") from None


def _unchanged(path: Path) -> None:
    """Raise UnusablePredictions where a file is not as the run left it."""
    if changed(path.parent, path.name):
        raise UnusablePredictions(f"{path.name} is not as the run left it; delete the run's folder and run again")


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of predictions; read as one JSON list, which is quicker than each by itself."""
    lines = [line for line in read_regular(path).split(b"\n") if line.strip()]
    values: list[dict[str, Any]] = from_json(b"[" + b",".join(lines) + b"]")
    if len(values) != len(lines):
        raise ValueError("a line is not one JSON value")
    return values


def example_parts(run: Run) -> tuple[tuple[int, ...], dict[str, NDArray[np.float64]]]:
    """Indices of a run's test examples, ascending, and by score what each example has of it: [examples, statistics], or
    [examples, 1] of the examples' own scores. Scores that some example lacks are left out. Raises
    UnusablePredictions."""
    path = run.folder.predictions
    with _reading():
        stat = path.stat()
    return _example_parts(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _example_parts(path: Path, changed: int, size: int) -> tuple[tuple[int, ...], dict[str, NDArray[np.float64]]]:
    """`changed`, `size`: of the file, so that another one in its place is read anew."""
    _unchanged(path)
    with _reading():
        lines = sorted(_lines(path), key=lambda line: int(line["index"]))
        indices = tuple(int(line["index"]) for line in lines)
        if len(set(indices)) != len(indices):
            raise UnusablePredictions("predictions.jsonl has an example twice")
        if not lines:
            raise UnusablePredictions("predictions.jsonl is empty")
        parts = {}
        for name in lines[0]:
            values = [line.get(name) for line in lines]
            if name != "index" and (table := _table(values)) is not None:
                parts[name] = table
        return indices, parts


def _table(values: list[Any]) -> NDArray[np.float64] | None:
    """Numbers, or lists of equally many, one an example, as [examples, …]; None where they are anything else."""
    if not all(isinstance(value, (int, float, list)) for value in values):
        return None
    try:
        table = np.array(values, dtype=np.float64)
    except (ValueError, TypeError):
        return None
    table = table[:, None] if table.ndim == 1 else table
    return table if table.ndim == 2 and table.shape[1] and np.isfinite(table).all() else None


def predictions(run: Run) -> dict[int, str]:
    """By index, ascending, what a run said of each test example. Raises UnusablePredictions."""
    _unchanged(run.folder.predictions)
    with _reading():
        lines = _lines(run.folder.predictions)
        return dict(sorted((int(line["index"]), str(line["prediction"])) for line in lines))


def training_losses(run: Run) -> list[tuple[int, float]]:
    """(step, training loss) of curve.jsonl in its order; nothing where it is absent or not readable."""
    try:
        return [(int(line["step"]), float(line["loss"])) for line in _lines(run.folder.curve)]
    except (OSError, ValueError, TypeError, KeyError):
        return []
