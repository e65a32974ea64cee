"""What was asked under a sweep's name. Imports neither torch nor Hydra.

    sweeps/<name>.<12 hex digits>.json   one asking: question and runs; the digits are of the runs' hash
    sweeps/<name>.json                   the same, as earlier versions wrote it, each asking in place of the last

A sweep's runs are the union of its askings, so that nothing leaves a table that was asked for, and folders of several
machines that are copied into one another hold what all of them asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.files import hash_of, read_regular, write_atomically
from harness.results.tuned import Tuned
from harness.texts import from_json, refuse_half_pairs

UNTOLD = "HARNESS_UNTOLD"
"""Environment variable of a sweep whose tables nobody can look at afterwards, so that it does not say how."""
SCHEMA = 1
"""Version of the files' layout."""
ASKING = re.compile(r"(?P<name>.+)\.[0-9a-f]{12}")
"""The stem of an asking's file."""
NAME = re.compile(r"[\w+-][\w.+-]*(/[\w+-][\w.+-]*)*")
"""What something may be called whose file has that name."""
LONGEST = 150
"""Bytes of such a name; a file's may have 255 on most systems, of which some go to what is put around it."""


def checked_name(option: str, name: str) -> str:
    """A name that someone gave, which becomes that of a file. Raises UserError that names the option."""
    if not NAME.fullmatch(name) or ASKING.fullmatch(name):
        raise UserError(f"{option}={name}: cannot be a name; use letters, digits, `_`, `-`, and `/` for folders")
    if (size := len(name.encode())) > LONGEST:
        raise UserError(f"{option}={name[:40]}…: has {size} bytes, and becomes a file's name; use at most {LONGEST}")
    return name


def write_sweep(results: Path, name: str, question: str, runs: Iterable[Mapping[str, Any]]) -> Path:
    """Write which runs were asked for: for each its `id`, `label`, the `overrides` that produce it, and, where
    the sweep has several, the number of its `grid`, and where its row was tuned how (`tuned`). What was asked before
    stays."""
    listed = [dict(run) for run in runs]
    path = results / "sweeps" / f"{name}.{hash_of(listed)[:12]}.json"
    content = {"schema_version": SCHEMA, "name": name, "question": question, "runs": listed}
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    return path


def recorded_sweeps(results: Path) -> list[str]:
    """The names of the sweeps in a results folder, those of folders such as `papers/…` too, sorted."""
    folder = results / "sweeps"
    stems = (path.relative_to(folder).as_posix().removesuffix(".json") for path in folder.rglob("*.json"))
    return sorted({match["name"] if (match := ASKING.fullmatch(stem)) else stem for stem in stems})


def sweep_files(results: Path, name: str) -> list[Path]:
    """The files in which a results folder has the askings of a sweep, sorted."""
    place = results / "sweeps" / f"{name}.json"
    stems = {path: ASKING.fullmatch(path.stem) for path in place.parent.glob("*.json")}
    return sorted(path for path, match in stems.items() if path == place or (match and match["name"] == place.stem))


def read_sweep(results: Sequence[Path], name: str) -> dict[str, Any]:
    """`question` and `runs` of all that was asked under a name in these results folders, each run once. Raises
    UserError where nothing was, or a file is none of `write_sweep`'s."""
    askings = [_asking(path) for folder in results for path in sweep_files(folder, name)]
    if not askings:
        known = sorted({sweep for folder in results for sweep in recorded_sweeps(folder)})
        have = f"there are: {', '.join(known)}" if known else "no sweep has been run there yet"
        raise UserError(f"{results[0] / 'sweeps' / name}.json: no such sweep; {have}")
    return united(askings)


def _asking(path: Path) -> dict[str, Any]:
    """The content of a file, looked at. Raises UserError."""
    try:
        content = from_json(read_regular(path).decode(), str(path))
        refuse_half_pairs(content, str(path))
        runs = [
            {name: str(run[name]) for name in ("id", "label", "overrides")}
            | {"grid": int(run.get("grid", place))}
            | ({"tuned": Tuned.model_validate(run["tuned"])} if "tuned" in run else {})
            for place, run in enumerate(content["runs"])
        ]
        return {"question": str(content["question"]), "runs": runs}
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable ({error}); delete it, and run the sweep again") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a sweep ({error!r}); delete it, and run the sweep again") from None


def united(askings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The runs of all askings, each once, in the order that one asking for all of them would have: grid by grid, and
    in a grid the last override varies slowest. It does not hang on the order of the askings: that is by overrides."""

    def rank(asking: dict[str, Any]) -> tuple[Any, ...]:
        runs = [(_natural(run["overrides"]), run["id"], run["label"], run["grid"]) for run in asking["runs"]]
        return runs, asking["question"]

    askings = sorted(askings, key=rank)
    order: dict[tuple[int, str], int] = {}
    runs = [run for asking in askings for run in asking["runs"]]
    for run in runs:
        for word in run["overrides"].split(" "):
            order.setdefault((run["grid"], word), len(order))

    def place(run: dict[str, Any]) -> tuple[int, list[int]]:
        return run["grid"], [order[run["grid"], word] for word in reversed(run["overrides"].split(" "))]

    each: dict[str, dict[str, Any]] = {}
    for run in sorted(_of_one_choice(runs), key=place):
        if run["id"] not in each or told(run.get("tuned")) > told(each[run["id"]].get("tuned")):
            each[run["id"]] = run
    return {"question": askings[0]["question"], "runs": list(each.values())}


def _of_one_choice(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs; of a row that was tuned more than once those of one choice: by the score of the latest search, of most
    trials, of the latest of these. Two choices side by side would leave it to test examples which is the better."""
    every = [run["tuned"] for run in runs if "tuned" in run]
    by = {tuned.words: tuned.by for tuned in sorted(every, key=lambda tuned: tuned.searched)}
    ordered = sorted((tuned for tuned in every if tuned.by == by[tuned.words]), key=lambda tuned: tuned.choice)
    last = {tuned.words: (tuned.by, tuned.choice) for tuned in ordered}
    return [run for run in runs if not (t := run.get("tuned")) or (t.by, t.choice) == last[t.words]]


def told(tuned: Tuned | None) -> int:
    """How much a listing of a run says of how it came by its settings."""
    return 0 if tuned is None else 1 if tuned.default else 2


def _natural(text: str) -> list[str | int]:
    """By which texts are sorted so that 10 comes after 9."""
    return [int(part) if re.fullmatch("[0-9]+", part) else part for part in re.split("([0-9]+)", text)]
