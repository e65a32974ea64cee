"""Rows that differ only in the seed, as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from harness.results.record import Record
from harness.results.tuned import Tuned
from reports.read.run import HARDWARE, Run, key_without
from reports.read.runs import Sweep

SEED = "settings.seed"
RATE = "settings.method.lr"


@dataclass(frozen=True)
class Group:
    """Finished rows that differ only in the seed, and in the machine where a sweep was split between several."""

    label: str
    runs: tuple[Run, ...]
    """In the sweep's order; one or more, each with a record."""

    @property
    def id(self) -> str:
        """That of the first run."""
        return self.runs[0].id

    @property
    def tuned(self) -> Tuned | None:
        """How its sweep chose its settings; None where it was not tuned."""
        return self.runs[0].tuned

    @property
    def records(self) -> list[Record]:
        """Of the runs, in their order."""
        return [run.record for run in self.runs if run.record is not None]


@lru_cache(maxsize=100_000)
def _seedless(run: Run, split: bool) -> str:
    """A finished run's key without the seed, and where `split` without the machine."""
    assert run.record is not None
    return key_without(run.record, SEED, *(HARDWARE if split else ()))


@lru_cache(maxsize=16)
def groups(sweep: Sweep) -> list[Group]:
    """The finished rows of a sweep by all but their seed, in the sweep's order. Repeats of a seed stay apart."""
    by_setting: dict[str, list[Run]] = defaultdict(list)
    for run, _ in sweep.done:
        by_setting[_seedless(run, sweep.split)].append(run)
    return [Group(runs[0].label, tuple(runs)) for runs in by_setting.values()]


def table_rows(sweep: Sweep) -> list[Group]:
    """The groups, and each unfinished run as a row of its own, in the sweep's order."""
    first = {group.id: group for group in groups(sweep)}
    return [first.get(run.id, Group(run.label, (run,))) for run in sweep.runs if run.id in first or run.done is None]


def rate_sets(rows: Sequence[Group]) -> list[tuple[Group, ...]]:
    """Trained rows that differ only in the learning rate (and their seeds), by rising rate."""
    by_setting: dict[str, list[Group]] = defaultdict(list)
    for row in rows:
        if row.runs[0].done and row.records[0].learning_rate is not None:
            by_setting[key_without(row.records[0], SEED, RATE)].append(row)
    return [tuple(sorted(each, key=rate)) for each in by_setting.values()]


def untuned(rows: Sequence[Group]) -> list[Group]:
    """Of rows that differ in more than the learning rate, those of which one rate was run that nobody searched."""
    sets = rate_sets(rows)
    single = [each[0] for each in sets if len({rate(row) for row in each}) == 1]
    searched = [row.tuned is not None and row.tuned.rate_searched for row in single]
    return [row for row, done in zip(single, searched, strict=True) if not done] if len(sets) > 1 else []


def rate(row: Group) -> float:
    """A trained row's learning rate."""
    return row.records[0].learning_rate or 0.0


def without(flat: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The fields that are neither one of `names` nor below one."""
    below = tuple(f"{name}." for name in names)
    return {key: value for key, value in flat.items() if not f"{key}.".startswith(below)}
