"""A table of rows at their chosen rates beside the same rows at their own: what tuning cost, and what it changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any

import pandas as pd

from harness.errors import UserError
from harness.results.record import Record
from reports.read.rows import SEED, Group, groups
from reports.read.run import Run
from reports.read.runs import Sweep, UnusablePredictions, finite
from reports.read.trials import cost, trials
from reports.statistics.intervals import Interval
from reports.statistics.paired import distance, sample, shared_seeds
from reports.statistics.scores import chosen_by, title_of
from reports.statistics.verdicts import BEST, TIED, Comparison, Verdict, compare
from reports.values import columns as c
from reports.values.asked import Asked
from reports.values.columns import Kind
from reports.values.notes import some
from reports.values.table import MISSING, Cell, Heading, Table

EDGE, FLIP = "edge", "flips"
COLUMNS: tuple[tuple[str, str, Kind], ...] = (
    ("row", "row", "text"),
    ("chosen", "chosen", "general"),
    ("own", "own", "general"),
    ("trials", "trials", "count"),
    ("trial_tokens", "tokens of trials", "count"),
    ("trial_seconds", "seconds of trials", "seconds"),
    ("score", "score", "score"),
    ("verdict", "verdict", "text"),
    ("own_score", "at the own rate", "score"),
    ("own_verdict", "verdict there", "text"),
    ("gain", "gained by tuning", "points"),
)
"""Column of the frame, heading, and how it is written."""


@dataclass(frozen=True)
class Pair:
    """A row at its chosen setting, and at its own where that was run."""

    chosen: Group
    own: Group | None
    """The same group where the row's own value was chosen."""

    @cached_property
    def tried(self) -> list[Record]:
        """The records of the row's trials, read once."""
        return trials(self.chosen.runs[0])


def tables(asked: Asked) -> list[Table]:
    """`--table tuned`. Raises UserError where the sweep has none."""
    sweep, comparison = asked.sweep, asked.comparison
    if not any(run.tuned for run in sweep.runs):
        raise UserError(f"{sweep.name}: its rows were not tuned; run it with tune=lr")
    pairs = pairs_of(sweep)
    if not pairs:
        raise UserError(f"{sweep.name}: none of its tuned rows is done")
    beside = _at_own(sweep, asked, pairs)
    lines = [_line(pair, comparison, beside) for pair in pairs]
    frame = pd.DataFrame(lines)
    score = comparison.score or ""
    cells = [[_cells(line, key, kind, frame) for line in lines] for key, _, kind in COLUMNS]
    headings = [
        Heading(title_of(score) if key == "score" else title, kind != "text", key) for key, title, kind in COLUMNS
    ]
    notes = [("", text) for text in _notes(pairs, lines, score, bool(beside))]
    settings = " and ".join(sorted({pair.chosen.tuned.setting for pair in pairs if pair.chosen.tuned}))
    by = chosen_by(pair.chosen.tuned for pair in pairs if pair.chosen.tuned)
    about = f"{settings}, chosen for each row by {by} in trials, and the row with that and its seeds."
    return [
        Table(
            f"{sweep.name}: tuned",
            (about,),
            tuple(headings),
            tuple(zip(*cells, strict=True)),
            tuple(notes),
            frame,
            first=("row", "chosen", "own", "score", "verdict", "gain", "own_score"),
        )
    ]


def pairs_of(sweep: Sweep) -> list[Pair]:
    """The tuned rows of a sweep that are done, in its order."""
    own = {_place(group): group for group in groups(replace(sweep, runs=sweep.own, own=()))}  # by all but the method
    pairs = []
    for group in groups(sweep):
        tuned = group.tuned
        if tuned is not None:
            pairs.append(Pair(group, group if tuned.at_own else own.get(_place(group))))
    return pairs


def _place(group: Group) -> tuple[tuple[str, ...], str]:
    """What a row has in common with the same row at its own value: its name in the sweep, and all of its key but the
    method's settings and the seed."""
    tuned, flat = group.tuned, group.records[0].flat_key
    rest = {name: value for name, value in flat.items() if not name.startswith(("settings.method.", SEED))}
    return tuned.words if tuned else (), json.dumps(rest, sort_keys=True)


def _at_own(sweep: Sweep, asked: Asked, pairs: Sequence[Pair]) -> Comparison | None:
    """The verdicts of the same rows at their own values, as far as they are done there; None where none is."""
    if all(pair.own is None for pair in pairs):
        return None
    runs: list[Run] = [run for run in sweep.runs if run.tuned is None]
    runs += [run for pair in pairs if pair.own for run in pair.own.runs]
    return compare(replace(sweep, runs=tuple(runs), own=()), asked.options.get("score"), asked.options.get("allow", ()))


def _line(pair: Pair, comparison: Comparison, beside: Comparison | None) -> dict[str, Any]:
    """The values of one row."""
    run, score = pair.chosen.runs[0], comparison.score or ""
    assert run.tuned is not None
    spent = cost(run, pair.tried)
    gain, interval = _gain(pair, score)
    verdict = comparison.verdicts.get(run.id, Verdict())
    there = beside.verdicts.get(pair.own.runs[0].id, Verdict()) if beside and pair.own else None
    return {
        "row": run.label,
        "chosen": run.tuned.value,
        "edge": run.tuned.edge,
        "others": " ".join(run.tuned.others),
        "own": run.tuned.own,
        "trials": spent.trials,
        "trial_tokens": spent.tokens if spent.known == spent.trials else None,
        "trial_seconds": spent.seconds if spent.known == spent.trials else None,
        "score": _mean(pair.chosen, score),
        "seeds": len(pair.chosen.runs),
        "verdict": verdict.text,
        "own_score": _mean(pair.own, score) if pair.own else None,
        "own_verdict": replace(there, at_these_rates=False).text if there else None,
        "flips": bool(beside and there and _flips((verdict, comparison), (there, beside))),
        "gain": gain,
        "gain_low": interval.low if interval else None,
        "gain_high": interval.high if interval else None,
    }


def _side(verdict: Verdict) -> str:
    """What a verdict comes to: the best and what is tied with it are one, since they cannot be told apart."""
    return BEST if verdict.word in (BEST, TIED) else verdict.text


def _flips(*sides: tuple[Verdict, Comparison]) -> bool:
    """Whether a row's two verdicts differ, each of a comparison. A row without one is behind the best of its; where
    that has none, as of a single row, it is not known what the row is."""
    known = all(one.text or BEST in {each.word for each in of.verdicts.values()} for one, of in sides)
    (chosen, _), (own, _) = sides
    return known and _side(chosen) != _side(own)


def _mean(row: Group, score: str) -> float | None:
    """Over the row's seeds."""
    values = [finite(record.quality.get(score)) for record in row.records]
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _gain(pair: Pair, score: str) -> tuple[float | None, Interval | None]:
    """The score at the chosen rate minus that at the row's own, over the seeds that both have where these are several,
    and its interval, seed by seed and example by example."""
    if pair.own is None or pair.own is pair.chosen:
        return None, None
    after, before = _mean(pair.chosen, score), _mean(pair.own, score)
    change = None if after is None or before is None else after - before
    try:
        one, other = sample(pair.chosen.runs, score), sample(pair.own.runs, score)
        interval = distance(one, other)
    except UnusablePredictions:
        return change, None
    if seeds := shared_seeds(one, other):
        change = one.of(seeds).value - other.of(seeds).value
    return change, interval


def _cells(line: dict[str, Any], key: str, kind: Kind, frame: pd.DataFrame) -> Cell:
    """A value of the table."""
    value = line[key]
    if value is None or value == "":
        return Cell(MISSING if value is None else "")
    if kind == "text":
        return Cell(f"{value} ({FLIP})" if key == "own_verdict" and line["flips"] else str(value))
    _, write = c.writer(kind, frame[key].dropna())
    text = write(float(value))
    if key == "chosen":
        text = ", ".join(filter(None, [text, line["others"], EDGE if line["edge"] else ""]))
    if key == "gain" and line["gain_low"] is not None:
        text += f" [{write(line['gain_low'])}, {write(line['gain_high'])}]"
    return Cell(text)


def _failed(pair: Pair) -> list[str]:
    """By what a row's trials came to no end, with how many; one that diverged has shown what its rate is worth."""
    causes = Counter(record.status for record in pair.tried if record.status not in ("ok", "diverged"))
    return [f"{number} {cause}" for cause, number in causes.items()]


def _notes(pairs: Sequence[Pair], lines: Sequence[dict[str, Any]], score: str, compared: bool) -> list[str]:
    """What the table shows as a whole."""
    notes = []
    flips = [line["row"] for line in lines if line["flips"]]
    if compared:
        both = sum(pair.own is not None for pair in pairs)
        named = f": {some(flips)}" if flips else ""
        notes.append(f"Verdicts that flip between own rates and chosen ones: {len(flips)} of {both}{named}.")
    if lacking := [pair.chosen.label for pair in pairs if pair.own is None]:
        notes.append(f"Not done at the own rate, which tune.default=true runs too, or failed there: {some(lacking)}.")
    gained = [line["row"] for line in lines if line["gain_low"] is not None and line["gain_low"] > 0]
    lost = [line["row"] for line in lines if line["gain_high"] is not None and line["gain_high"] < 0]
    if gained or lost:
        sides = [f"{name} {some(rows)}" for name, rows in (("raised it in", gained), ("lowered it in", lost)) if rows]
        notes.append(f"Tuning changed {title_of(score)} beyond its 95% interval: {'; '.join(sides)}.")
    if edges := [line["row"] for line in lines if line["edge"]]:
        notes.append(f"{EDGE}: the best of {some(edges)} lies at the edge of the grid; a better one may lie beyond.")
    if failed := [f"{pair.chosen.label} ({', '.join(causes)})" for pair in pairs if (causes := _failed(pair))]:
        notes.append(f"Trials that were not done, so that nothing is known of their values: {some(failed)}.")
    seeds = sorted({str(r.flat_key.get("settings.seed")) for pair in pairs for r in pair.tried})
    if seeds and score == "val_loss":
        notes.append(
            f"Trials: seeds {', '.join(seeds)}. Validation examples chose the rates, so that this loss flatters them."
        )
    elif seeds:
        notes.append(
            f"Trials: seeds {', '.join(seeds)}, validation examples alone. The seeds and test examples of the scores "
            "are others, so that choosing flatters no row."
        )
    if any(line["gain_low"] is not None for line in lines):
        notes.append("In brackets the 95% interval of the difference, seed by seed and example by example.")
    return notes
