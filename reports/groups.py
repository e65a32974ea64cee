"""Rows that differ only in the seed, as one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.results import Record
from reports.read import Run, Sweep

SEED = "settings.seed"


@dataclass(frozen=True)
class Group:
    """Finished rows that differ only in the seed."""

    label: str
    runs: tuple[Run, ...]
    """In the sweep's order; one or more, each with a record."""

    @property
    def id(self) -> str:
        """That of the first run."""
        return self.runs[0].id

    @property
    def records(self) -> list[Record]:
        """Of the runs, in their order."""
        return [run.record for run in self.runs if run.record is not None]


def groups(sweep: Sweep) -> list[Group]:
    """The finished rows of a sweep by all but their seed, in the sweep's order. Repeats of a seed stay apart."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run, record in sweep.done:
        found[key_without(record, (SEED,))].append(run)
    return [Group(runs[0].label, tuple(runs)) for runs in found.values()]


def key_without(record: Record, names: tuple[str, ...]) -> str:
    """The record's key as text, without the fields that are one of `names` or below one."""
    return json.dumps(without(flatten(record.key), names), sort_keys=True, default=str)


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level with dotted names."""
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= flatten(inner, f"{prefix}{name}.") if isinstance(inner, Mapping) else {f"{prefix}{name}": inner}
    return flat


def without(flat: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The fields that are neither one of `names` nor below one."""
    return {key: value for key, value in flat.items() if not any(f"{key}.".startswith(f"{name}.") for name in names)}
