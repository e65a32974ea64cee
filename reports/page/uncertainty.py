"""How sure scores are, by the bootstrap over test examples: intervals of runs, and resamples of rows over seeds, which
are drawn alike for every row, so that the page can pair any two."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.read.rows import Group, groups, rate, rate_sets
from reports.read.run import Run
from reports.read.runs import Sweep, UnusablePredictions
from reports.statistics.intervals import percentile_interval
from reports.statistics.paired import Sampled, interval, sample, scores_with_examples, student

STEPS = 65535
"""Of the scale on which a resampled score is written in two bytes."""


def rows_over_seeds(runs: Sequence[Run], why_not: str, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The finished runs by all but their seed: label, numbers of its runs, what is known of its learning rate (`rate`),
    and how sure its scores are (`scores`, `indices`) or why that is not known (`unsure`). `why_not`: why it is not
    computed; empty: it is."""
    place = {id(run): number for number, run in enumerate(runs)}
    known = groups(Sweep("", "", tuple(runs)))
    rates = _rates(known)
    indices: dict[tuple[int, ...], int] = {}
    lines = []
    for number, group in enumerate(known):
        row: dict[str, Any] = {"label": group.label, "runs": [place[id(run)] for run in group.runs]}
        row |= rates.get(group.id, {})
        if why_not:
            lines.append(row | {"unsure": why_not})
            continue
        try:
            sampled = {name: sample(group.runs, name) for name in _shared_scores(group.runs)}
            row["scores"] = {name: packed(each) for name, each in sampled.items()}
            row["indices"] = indices.setdefault(next(iter(sampled.values())).indices, len(indices)) if sampled else -1
        except UnusablePredictions as problem:
            row["unsure"] = str(problem)
        lines.append(row)
        if number and number % 100 == 0:
            say(f"intervals of {number} of {len(known)} rows")
    return lines


def _rates(rows: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """By the id of a trained row its learning rate, the number of what it shares with rows that differ in nothing else
    (`set`), and whether a sweep searched it: what `untuned` of reports/read/rows.py goes by, for any choice of rows."""
    return {
        row.id: {"rate": {"of": rate(row), "set": number, "searched": bool(row.tuned and row.tuned.rate_searched)}}
        for number, rows_of in enumerate(rate_sets(rows))
        for row in rows_of
    }


def intervals_of(run: Run) -> dict[str, tuple[float, float]]:
    """By score, the interval of one run. Raises UnusablePredictions."""
    intervals = {name: interval([run], name) for name in scores_with_examples(run)}
    return {name: (_brief(each.low), _brief(each.high)) for name, each in intervals.items()}


def packed(sampled: Sampled) -> dict[str, Any]:
    """For the page: the interval, the resamples, and of several seeds each one's (`seeds`), which it pairs."""
    ends = percentile_interval(sampled.drawn)
    row = {"low": _brief(ends.low), "high": _brief(ends.high), **_steps(sampled.drawn)}
    if len(sampled.seeds) > 1:
        seeds = zip(sampled.seeds, sampled.values, sampled.resampled, strict=True)
        row["seeds"] = [{"seed": seed, "value": float(value), **_steps(drawn)} for seed, value, drawn in seeds]
    return row


def _steps(drawn: NDArray[np.float64]) -> dict[str, Any]:
    """Resamples as base64 of 16-bit steps from the least to the largest."""
    least = float(drawn.min())
    step = (float(drawn.max()) - least) / STEPS or 1.0
    steps = np.round((drawn - least) / step).astype("<u2")
    return {"from": least, "step": step, "draws": base64.b64encode(steps.tobytes()).decode()}


def student_draws(rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Student's t as `distance` draws it, by the number of seeds that two rows may share."""
    counts = {len(score.get("seeds", ())) for row in rows for score in row.get("scores", {}).values()}
    return {str(n): [round(value, 4) for value in student(n).tolist()] for n in range(2, max(counts, default=0) + 1)}


def _shared_scores(runs: Sequence[Run]) -> list[str]:
    """The scores that every run's examples give. Raises UnusablePredictions."""
    each = [scores_with_examples(run) for run in runs]
    return [name for name in each[0] if all(name in others for others in each)]


def _brief(value: float) -> float:
    return float(f"{value:.5g}")
