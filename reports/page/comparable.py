"""Which finished runs may be compared: those that differ in nothing but what a table is about, and the seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from harness.results.record import Record
from reports.read.rows import without
from reports.read.run import ABOUT
from reports.statistics.verdicts import TRAINING, is_trained

SEED = ("settings.seed", "repeat")
EXAMPLES = "test_examples"
Fields = tuple[tuple[str, str], ...]
"""(field of the key, value as text), sorted."""


def comparable(
    records: Sequence[Record], keys: Sequence[dict[str, str]]
) -> tuple[list[dict[str, str]], list[list[int]]]:
    """The sets of runs that may be compared, each as the fields that its runs share, and for each run its sets.

    `keys`: of each record the key, one level deep, as text. An untrained run is compared with every set that it shares
    data, model, scoring and environment with, whatever that trains.
    """
    shared = [_fields(record, key) for record, key in zip(records, keys, strict=True)]
    trained = [is_trained(record) for record in records]
    sets: dict[Fields, int] = {}
    by_rest: dict[Fields, list[int]] = defaultdict(list)
    for fields, is_one in zip(shared, trained, strict=True):
        if is_one and fields not in sets:
            sets[fields] = len(sets)
            by_rest[_untrained(fields)].append(sets[fields])
    members: list[list[int]] = []
    for fields, is_one in zip(shared, trained, strict=True):
        if not is_one and _untrained(fields) not in by_rest:
            rest = _untrained(fields)
            by_rest[rest] = [sets.setdefault(rest, len(sets))]
        members.append([sets[fields]] if is_one else by_rest[_untrained(fields)])
    return [dict(fields) for fields in sets], members


def _fields(record: Record, key: dict[str, str]) -> Fields:
    """What a run's set is known by."""
    fields: dict[str, Any] = without(key, (*ABOUT, *SEED)) | {EXAMPLES: str(record.test_examples)}
    return tuple(sorted(fields.items()))


def _untrained(fields: Fields) -> Fields:
    """The fields that an untrained run has too."""
    return tuple(without(dict(fields), TRAINING).items())
