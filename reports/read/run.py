"""A run of a sweep: which record stands for it where there are several, and what tells it from others of its name."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.results.folder import RunFolder
from harness.results.record import Record
from harness.results.tuned import Tuned

NOT_RUN = "not run"
UNREADABLE = "unreadable record"

ABOUT = ("settings.method", "settings.roles", "settings.modules", "settings.quantization", "settings.train.optimizer")
"""What rows of a table may differ in: what the table is about. Learning rate and optimizer go with the method and are
shown."""
HARDWARE = ("environment.device", "environment.threads")
"""What timings depend on, and scores but for rounding."""
SHOWN = (
    *(f"settings.method.{name}" for name in ("name", "rank", "lr")),
    *(f"settings.{name}" for name in ("quantization", "train.optimizer", "seed")),
    "repeat",
)
"""What a table tells of its rows besides what tells labels apart."""
MOST = 3
"""Settings that distinguish labels."""


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a sweep, with its record if there is one."""

    id: str
    label: str
    """Short name of the row, as the sweep gives it, with the settings that tell it from others of that name."""
    overrides: str
    """What produces the run on the command line."""
    folder: RunFolder
    """Where the record and the predictions lie."""
    record: Record | None = None
    problem: str | None = None
    """Why the record cannot be read, in one line."""
    tuned: Tuned | None = None
    """How its sweep chose its settings; None where it was not tuned."""

    @property
    def status(self) -> str:
        """The record's status, `not run` or `unreadable record`."""
        if self.record is not None:
            return self.record.status
        return UNREADABLE if self.problem else NOT_RUN

    @property
    def done(self) -> Record | None:
        """The record, if its status is ok."""
        return self.record if self.status == "ok" else None


def one_of(runs: Sequence[Run]) -> tuple[Run, str | None]:
    """Of one run as several folders have it, the one that is used; and what is to be said where its records differ.

    An ok record goes before others, then the one that started first.
    """
    different: list[Run] = []
    # Of equal records that of the folder which has more beside it, such as the predictions.
    for run in sorted(runs, key=lambda run: -len(list(run.folder.path.glob("*.jsonl")))) if len(runs) > 1 else runs:
        if run.record is not None and all(run.record != other.record for other in different):
            different.append(run)
    if not different:
        return next((run for run in runs if run.problem), runs[0]), None
    return _first(different, "another record of the same run")


def once_each(runs: Sequence[Run]) -> tuple[list[Run], list[str], bool]:
    """The runs of a sweep that was split between unlike machines, what is to be said of them, and whether it was.

    It was where no trained run was made on two of them: then what was not trained, as the untouched base, is a repeat
    on each, of which one is used. Where one was, the sweep is about the machines, and every run stays.
    """
    if len({tuple(map(run.done.flat_key.get, HARDWARE)) for run in runs if run.done}) < 2:
        return list(runs), [], False
    alike: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        alike[run.id if run.done is None else key_without(run.done, *HARDWARE)].append(run)
    if any(len(each) > 1 and each[0].record and each[0].record.learning_rate is not None for each in alike.values()):
        return list(runs), [], False
    used = [_first(each, "the same run on another machine") for each in alike.values()]
    return [run for run, _ in used], [remark for _, remark in used if remark], True


def _first(runs: Sequence[Run], what: str) -> tuple[Run, str | None]:
    """The run whose record is used, of some that have one if they are several; and that, in words."""
    if len(runs) == 1:
        return runs[0], None

    def place(run: Run) -> tuple[bool, str, str]:
        assert run.record is not None
        return run.done is None, run.record.started, run.record.model_dump_json()

    first, *others = sorted(runs, key=place)
    scores = [run.done.quality for run in (first, *others) if run.done]
    names = sorted({name for each in scores for name in each if any(each[name] != o.get(name) for o in scores)})
    differ = f"they differ in {', '.join(names)}" if names else "their scores are the same"
    left = ", ".join(f"{what} in {run.folder.results} ({run.status})" for run in others)
    return first, (
        f"{first.label} ({first.id}): the record of {first.folder.results} is used, as the first to be started"
        f"{'' if all(run.done for run in others) else ' that is ok'}; there is {left}; {differ}."
    )


def told_apart(runs: Sequence[Run], split: bool) -> tuple[Run, ...]:
    """The runs; those of one label that differ in what a table does not show have that in their labels.

    `split`: the machine does not distinguish runs.
    """
    hidden = tuple(f"{name}." for name in (*SHOWN, *(HARDWARE if split else ())))
    named: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        if run.record is not None:
            named[run.label].append(run.record.flat_key)
    differing = {
        label: [
            name
            for name in dict.fromkeys(name for key in keys for name in key)
            if not f"{name}.".startswith(hidden) and any(key.get(name) != keys[0].get(name) for key in keys)
        ]
        for label, keys in named.items()
        if len(keys) > 1
    }

    def label(run: Run) -> str:
        names = differing.get(run.label, [])[:MOST] if run.record else []
        own = run.record.flat_key if run.record else {}
        return ", ".join([run.label, *(f"{_short(name)} {_plain(own.get(name))}" for name in names)])

    return tuple(replace(run, label=label(run)) for run in runs)


def _short(name: str) -> str:
    """A field of the key as a label names it: `train.steps`, `peft`."""
    beginnings = ("settings.method.", "settings.", "environment.", "versions.")
    return name.removeprefix(next((each for each in beginnings if name.startswith(each)), ""))


def _plain(value: Any) -> str:
    """A setting in a label: 16, not 16.0."""
    return f"{value:g}" if isinstance(value, float) else show(value)


def key_without(record: Record, *names: str) -> str:
    """The record's key as text, without these fields."""
    left = dict(record.flat_key)
    for name in names:
        left.pop(name, None)
    return json.dumps(left, sort_keys=True)


def show(value: Any) -> str:
    """A setting as people write it; the beginning of a hash."""
    if isinstance(value, str):
        return value[:12] if re.fullmatch("[0-9a-f]{40,}", value) else value
    return str(value) if type(value) is int else json.dumps(value, ensure_ascii=False, default=str)
