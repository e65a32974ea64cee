"""Which runs of ours stand beside a published row, and what differs in how the two were made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.results.record import Record
from reports.published.files import UNKNOWN, Paper, Row
from reports.read.rows import Group, groups
from reports.read.run import Run, show
from reports.read.runs import Sweep


@dataclass(frozen=True)
class Counterpart:
    """Runs of ours that differ only in the seed, beside a published row."""

    sweep: str
    """Name of the sweep they are of."""
    group: Group
    label: str
    """Of the group, with what tells it from others beside the same row."""


def fields_of(record: Record) -> dict[str, Any]:
    """A record's key as one level, settings without their `settings.`, and the number of examples scored."""
    flat = {name.removeprefix("settings."): value for name, value in record.flat_key.items()}
    return flat | {"test_examples": record.test_examples}


def is_counterpart(paper: Paper, row: Row, record: Record) -> bool:
    """The record's key has every value that the row, and the table, asks for."""
    return row.match is not None and meets(record, paper.match | row.match)


def meets(record: Record, conditions: dict[str, Any]) -> bool:
    """The record's key has these values."""
    fields = fields_of(record)
    return all(name in fields and fields[name] == value for name, value in conditions.items())


def counterparts(paper: Paper, row: Row, sweeps: Iterable[Sweep]) -> list[Counterpart]:
    """In the order of the sweeps. Bases never mix: a group is of one."""
    pairs = [
        (sweep.name, group)
        for sweep in sweeps
        for group in groups(sweep)
        if is_counterpart(paper, row, group.records[0])
    ]
    return [Counterpart(name, group, _label(group, [g for n, g in pairs if n == name])) for name, group in pairs]


def _label(group: Group, beside: list[Group]) -> str:
    """A group's label, with the base and the learning rate where they tell it from others of its label."""
    alike = [fields_of(each.records[0]) for each in beside if each.label == group.label]
    own = fields_of(group.records[0])
    names = [name for name in ("model.name", "method.lr") if len({repr(fields.get(name)) for fields in alike}) > 1]
    return ", ".join([group.label, *(f"{name} {show(own.get(name))}" for name in names)])


def failed(paper: Paper, row: Row, sweeps: Iterable[Sweep]) -> list[Run]:
    """Runs that would be counterparts and did not end well."""
    return [
        run
        for sweep in sweeps
        for run in sweep.runs
        if run.record and not run.done and is_counterpart(paper, row, run.record)
    ]


@dataclass(frozen=True)
class Setting:
    """A setting of the published figures and of ours."""

    name: str
    """As in a record's key, without `settings.`."""
    published: str
    ours: dict[str, str]
    """By sweep; every value that its runs have."""

    @property
    def equal(self) -> bool:
        """Ours are all as published."""
        return set(self.ours.values()) == {self.published}


def settings(protocol: dict[str, Any], ours: Iterable[Counterpart]) -> list[Setting]:
    """Each setting of a protocol, beside that of these runs."""
    by_sweep: dict[str, list[dict[str, Any]]] = {}
    for each in ours:
        seeds = {"seeds": len(each.group.runs)}
        by_sweep.setdefault(each.sweep, []).extend(fields_of(record) | seeds for record in each.group.records)
    return [
        Setting(name, value if value == UNKNOWN else show(value), {s: _values(name, f) for s, f in by_sweep.items()})
        for name, value in protocol.items()
    ]


def _values(name: str, fields: list[dict[str, Any]]) -> str:
    """What the records say, each value once."""
    values = [each[name] for each in fields if name in each]
    # 32.0 and 32 are one value, whichever way a file spells it.
    whole = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    return " or ".join(dict.fromkeys(map(show, whole))) or "not set"
