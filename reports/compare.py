"""Which rows may be compared, and what the paired bootstrap says of them. No other ranking is made anywhere."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from harness.results import Record
from reports.groups import flatten, without
from reports.paired import Sampled, distance, sample
from reports.read import Run, Sweep, UnusablePredictions, finite
from reports.statistics import Interval

BASE = "the base"
BEST = "best"
TIED = "tied with best"
STILL = "did not move"
WORSE = "below the base"

TRAINING = ("settings.train", "settings.seed")
"""What an untrained row cannot differ in."""
ABOUT = ("settings.method", "settings.roles", "settings.modules", "settings.quantization", "settings.train.optimizer")
"""What rows of a table may differ in: what the table is about. Learning rate and optimizer go with the method and are
shown."""
SAME_BASE = (
    "settings.method",
    "settings.roles",
    "settings.modules",
    "settings.eval.score",
    "settings.forgetting",
    "repeat",
    *TRAINING,
)
"""What a row may differ in from the untouched base that it is compared with."""


@dataclass(frozen=True)
class Verdict:
    """What is known of one finished row."""

    word: str = ""
    """One of BASE, BEST, TIED, STILL, WORSE, or nothing."""
    change: float | None = None
    """BLEU minus that of the untouched base."""
    interval: Interval | None = None
    """Of the change, 95%."""
    unknown: str | None = None
    """Why there is no interval."""


@dataclass(frozen=True)
class Comparison:
    """Verdicts by run id, for the finished rows, and what stands in the way of ranking them."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    differing: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """By field of the key that should be equal and is not: for each value, the labels of its rows."""


@dataclass(frozen=True)
class _Scored:
    """A finished run, and its BLEU under resampling."""

    run: Run
    record: Record
    sampled: Sampled


def is_zero_shot(record: Record) -> bool:
    """Whether a row is the untouched base itself."""
    return record.method.replace("-", "_") == "zero_shot"


def is_trained(record: Record) -> bool:
    """Whether a row was trained; a baseline that cannot be has nothing trainable."""
    return not is_zero_shot(record) and (record.parameters is None or record.parameters.trainable > 0)


def differing_fields(done: list[tuple[Run, Record]]) -> dict[str, dict[str, list[str]]]:
    """Fields outside what the table is about that are not equal in every finished row: value -> labels of its rows."""
    flat = {
        run.id: without(flatten(record.key), ABOUT) | {"test_examples": record.test_examples} for run, record in done
    }
    found: dict[str, dict[str, list[str]]] = {}
    for name in dict.fromkeys(name for fields in flat.values() for name in fields):
        values: dict[str, list[str]] = defaultdict(list)
        for run, record in done:
            if is_trained(record) or without({name: None}, TRAINING):
                known = name in flat[run.id]
                values[show(flat[run.id][name]) if known else "not recorded"].append(run.label)
        if len(values) > 1:
            found[name] = dict(values)
    return found


def show(value: Any) -> str:
    """A setting as people write it; the beginning of a hash."""
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{40,}", value):
        return value[:12]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def compare(sweep: Sweep) -> Comparison:
    """The verdicts of a sweep's finished rows."""
    differing = differing_fields(sweep.done)
    scored, verdicts = _score(sweep)
    bases = [row for row in scored if is_zero_shot(row.record)]
    for row in scored:
        verdicts[row.run.id] = _against_base(row, bases)
    zero_shot = [(run, record) for run, record in sweep.done if is_zero_shot(record)]
    verdicts |= {run.id: Verdict(BASE) for run, _ in zero_shot}
    candidates = [row for row in scored if verdicts[row.run.id].word not in (BASE, STILL, WORSE)]
    if len(groups := {row.sampled.indices: row.run.label for row in scored}) > 1:
        differing["indices of the test examples"] = {f"set {n}": [label] for n, label in enumerate(groups.values(), 1)}
    # One row beside the base is not the best of anything.
    if not differing and sum(not is_zero_shot(row.record) for row in scored) > 1:
        for run_id, word in _best(candidates).items():
            verdicts[run_id] = replace(verdicts[run_id], word=word)
    return Comparison(verdicts, differing)


def _score(sweep: Sweep) -> tuple[list[_Scored], dict[str, Verdict]]:
    """The rows whose predictions can be used, and for the others a verdict that says why not."""
    scored: list[_Scored] = []
    verdicts: dict[str, Verdict] = {}
    for run, record in sweep.done:
        try:
            if "bleu" not in record.quality:
                raise UnusablePredictions("only BLEU has intervals, and the record has none")
            scored.append(_Scored(run, record, sample([run], "bleu")))
        except UnusablePredictions as problem:
            verdicts[run.id] = Verdict(change=_recorded_change(record), unknown=str(problem))
    return scored, verdicts


def _recorded_change(record: Record) -> float | None:
    """The change of BLEU by the record alone; it has no interval."""
    after, before = finite(record.quality.get("bleu")), finite(record.base_quality.get("bleu"))
    return None if after is None or before is None else after - before


def _against_base(row: _Scored, bases: list[_Scored]) -> Verdict:
    """The change from the zero-shot row that has the same base, data and decoding."""
    conditions = without(flatten(row.record.key), SAME_BASE)
    same = [
        b
        for b in bases
        if without(flatten(b.record.key), SAME_BASE) == conditions and b.sampled.indices == row.sampled.indices
    ]
    if not same:
        like = " with the same base, data, decoding and environment" if bases else ""
        return Verdict(change=_recorded_change(row.record), unknown=f"the sweep has no finished zero-shot row{like}")
    interval = distance(row.sampled, same[0].sampled)
    word = STILL if interval.contains_zero else WORSE if interval.high < 0 else ""
    return Verdict(word, row.sampled.value - same[0].sampled.value, interval)


def _best(candidates: list[_Scored]) -> dict[str, str]:
    """The best row and those whose paired interval to it contains 0. The candidates share their test examples."""
    if not candidates:
        return {}
    best = max(candidates, key=lambda row: row.sampled.value)
    words = {best.run.id: BEST}
    for row in candidates:
        if row is not best and distance(best.sampled, row.sampled).contains_zero:
            words[row.run.id] = TIED
    return words
