"""What the page knows, as one JSON value: measures column by column, the rest run by run, equal texts once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.results.record import Record
from reports.page.collect import FEW_POINTS, MANY, POINTS, Shown, curve, kind_of_rate, predictions
from reports.page.comparable import comparable
from reports.page.measures import Measure, measures, shape
from reports.page.references import References, Text
from reports.page.uncertainty import intervals_of, rows_over_seeds, student_draws
from reports.read.run import show
from reports.read.runs import Sweep, UnusablePredictions, finite
from reports.statistics.intervals import t_quantile
from reports.statistics.scores import MAIN, floor, is_positive, main_score
from reports.statistics.verdicts import Comparison
from reports.values.frame import quality_columns, single, tidy, why_missing

EMBEDDED = ("restaurants", "cuisine")
"""Names of the data that come with the project, whose inputs and references a page may carry."""
GRADES = 30
"""Degrees of freedom for which the page has a quantile of Student's t."""


@dataclass(frozen=True)
class Options:
    """How much the page carries."""

    examples: int = 20
    """Predictions of each run."""
    intervals: int = 500
    """Runs up to which intervals are computed."""


class Interned:
    """Values that many runs share, each written once."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}

    def __call__(self, value: Any) -> int:
        return self._places.setdefault(value, len(self._places))

    @property
    def values(self) -> list[Any]:
        """In the order of their numbers."""
        return list(self._places)


def payload(
    rows: Sequence[Shown], references: References, options: Options, say: Callable[[str], None]
) -> dict[str, Any]:
    """The page's data. `say` gets the progress."""
    sweep = Sweep("", "", tuple(row.run for row in rows))
    frame = tidy(sweep, Comparison(score=main_score(sweep.recorded)))
    records = [row.run.record for row in rows]
    frame["train_seconds"] = [finite(record.seconds.get("train")) if record else None for record in records]
    answers = [single(record) if record else None for record in records]
    frame["prefill_ms"] = [_ms(each.prefill_seconds) if each else None for each in answers]
    frame["decode_ms_per_token"] = [_ms(each.decode_seconds_per_token) if each else None for each in answers]
    frame["evaluate_seconds_per_example"] = [_each(record) if record else None for record in records]
    fields = quality_columns(sweep)
    known = [m for m in measures(fields, sweep.recorded) if m.column.key in frame and frame[m.column.key].notna().any()]
    values = {m.column.key: [_short(value) for value in frame[m.column.key].tolist()] for m in known}
    say(f"{len(rows)} runs, {len(known)} measures")
    pairs, reasons, absent = Interned(), Interned(), Interned()
    keys = [_key(record) if record else {} for record in records]
    done = [i for i, row in enumerate(rows) if row.run.done]
    finished = [record for i in done if (record := records[i]) is not None]
    sets, members = comparable(finished, [keys[i] for i in done])
    sets_of = dict(zip(done, members, strict=True))
    many = len(done) > options.intervals
    why_not = f"more than {options.intervals} finished runs: no intervals were computed (--intervals)" if many else ""
    runs: list[dict[str, Any]] = []
    later: list[dict[str, Any]] = []
    points = POINTS if len(rows) <= MANY else FEW_POINTS
    texts: dict[str, dict[int, Text]] = {}
    for i, row in enumerate(rows):
        if i and i % 1000 == 0:
            say(f"{i} of {len(rows)} runs")
        record = row.run.record
        runs.append(_run(row, sets_of.get(i, [])))
        runs[-1]["absent"] = absent(
            _absent(record, known, fields, values, i, reasons) if row.run.done and record else ()
        )
        runs[-1] |= _intervals(row, why_not)
        own = predictions(row.run.folder, options.examples) if record else []
        told_later = {"said": own, "config": [pairs(pair) for pair in keys[i].items()]}
        later.append(told_later | {"curve": curve(row.run.folder, points) if record else {}})
        place = _data(record)
        if place and own:
            examples = references.of(*place) if _may_show(record, place, references) else {}
            shown = texts.setdefault(f"{place[0]} {place[1]}", {})
            shown |= {index: examples[index] for index, _ in own if index in examples}
    over_seeds = rows_over_seeds([row.run for row in rows], why_not, say)
    return {
        "measures": [_measure(m, values[m.column.key]) for m in known],
        "main": MAIN,
        "runs": runs,
        "rows": over_seeds,
        "pairs": pairs.values,
        "reasons": reasons.values,
        "absent": absent.values,
        "sets": sets,
        "folders": list(dict.fromkeys(str(row.results) for row in rows)),
        "sweeps": list(dict.fromkeys(name for row in rows for name in row.sweeps)),
        "t": student_draws(over_seeds),
        "student": [round(t_quantile(n), 4) for n in range(1, GRADES + 1)],
        "references": texts,
        "later": later,
    }


def _run(row: Shown, sets: list[int]) -> dict[str, Any]:
    """What is known of one run besides its measures; what is empty is left out."""
    record = row.run.record
    summary: dict[str, Any] = {
        "id": row.run.id,
        "label": row.run.label,
        "status": row.run.status,
        "method": record.method if record else row.run.id.rpartition("-")[0] or row.run.id,
        "cause": row.run.problem if record is None else record.cause,
        "sweeps": list(row.sweeps),
        "folder": str(row.results),
        "sets": sets,
        "note": row.note,
        "rate": kind_of_rate(row.run),
        "overrides": row.run.overrides,
    }
    if record:
        summary |= {
            "data": _data_field(record, "name"),
            "place": " ".join(map(str, _data(record) or ())),
            "model": record.model_description,
            "started": record.started,
            "step": record.step if record.status != "ok" else None,
            "targets": ", ".join(record.targets),
            "signatures": record.signatures,
            "base": {name: _short(value) for name, value in record.base_quality.items() if finite(value) is not None},
            "baselines": {name: _short(value) for name, value in record.baselines.items()},
            "floor": {
                name: (each.called, _short(each.value)) for name in record.quality if (each := floor([record], name))
            },
            "warnings": record.warnings,
        }
    return {name: value for name, value in summary.items() if value not in (None, "", [], {})}


def _intervals(row: Shown, why_not: str) -> dict[str, Any]:
    """Intervals of a finished run's scores, or why there are none."""
    if not row.run.done or why_not:
        return {"unsure": why_not} if row.run.done else {}
    try:
        return {"intervals": intervals_of(row.run)}
    except UnusablePredictions as problem:
        return {"unsure": str(problem)}


def _measure(measure: Measure, values: list[float | None]) -> dict[str, Any]:
    """A column: its heading, how it is written, its values."""
    column = measure.column
    unit, form = shape(column.kind, [value for value in values if value is not None])
    return {
        "key": column.key,
        "score": column.key.removesuffix("_nats_per_token"),
        "title": column.title,
        "unit": unit or column.unit,
        "better": "" if measure.better == "neither" else measure.better,
        "positive": measure.group == "quality" and is_positive(column.key.removesuffix("_nats_per_token")),
        "group": measure.group,
        "values": values,
        **form,
    }


def _absent(
    record: Record,
    known: Sequence[Measure],
    fields: dict[str, str],
    columns: dict[str, list[float | None]],
    i: int,
    reasons: Interned,
) -> tuple[tuple[int, int], ...]:
    """For each measure that a finished run lacks: its number, and that of the reason."""
    return tuple(
        (number, reasons(why_missing(record, path)))
        for number, measure in enumerate(known)
        if columns[measure.column.key][i] is None and (path := measure.column.field or fields.get(measure.column.key))
    )


def _key(record: Record) -> dict[str, str]:
    """A record's key, one level deep, as text."""
    return {name: show(value) for name, value in record.flat_key.items()}


def _data_field(record: Record, name: str) -> str:
    """A field of the key's data, empty where there is none."""
    data = record.key.get("data")
    return str(data.get(name, "")) if isinstance(data, dict) else ""


def _data(record: Record | None) -> tuple[str, int | None] | None:
    """What names the test examples of a run: the hash of its data and how many it scored."""
    content = _data_field(record, "sha256") if record else ""
    return (content, record.test_examples) if record and content else None


def _may_show(record: Record | None, place: tuple[str, int | None], references: References) -> bool:
    """Whether inputs and references may appear: of embedded data, or of data that the user gave them for."""
    return place in references.scored or (record is not None and _data_field(record, "name") in EMBEDDED)


def _each(record: Record) -> float | None:
    """Seconds that generation and scoring took for each test example."""
    seconds = finite(record.seconds.get("evaluate"))
    return seconds / record.test_examples if seconds is not None and record.test_examples else None


def _ms(seconds: float | None) -> float | None:
    """In milliseconds."""
    return None if seconds is None else 1000 * seconds


def _short(value: Any) -> float | int | None:
    """A number in seven significant digits; None for what is none, or not finite."""
    if not isinstance(value, (int, float)):  # pandas has its own "missing"
        return None
    number = finite(float(value))
    return None if number is None else int(number) if number == int(number) else float(f"{number:.7g}")


def progress(line: str) -> None:
    """Say on stderr how far the page is."""
    print(f"page: {line}", file=sys.stderr, flush=True)
