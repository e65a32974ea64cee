"""How sure scores are, by the bootstrap over test examples: intervals of runs, and resamples of rows over seeds, which
are drawn alike for every row, so that the page can pair any two."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.groups import groups
from reports.paired import Sampled, interval, sample, scores_with_examples
from reports.read import Run, Sweep, UnusablePredictions
from reports.statistics import percentile_interval

STEPS = 65535
"""Of the scale on which a resampled score is written in two bytes."""


def rows_over_seeds(runs: Sequence[Run], why_not: str, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The finished runs by all but their seed: label, numbers of its runs, and how sure its scores are (`scores`,
    `indices`) or why that is not known (`unsure`). `why_not`: why it is not computed; empty: it is."""
    place = {id(run): number for number, run in enumerate(runs)}
    known = groups(Sweep("", "", tuple(runs)))
    indices: dict[tuple[int, ...], int] = {}
    made = []
    for number, group in enumerate(known):
        told: dict[str, Any] = {"label": group.label, "runs": [place[id(run)] for run in group.runs]}
        if why_not:
            made.append(told | {"unsure": why_not})
            continue
        try:
            sampled = {name: sample(group.runs, name) for name in _shared_scores(group.runs)}
            told["scores"] = {name: packed(each) for name, each in sampled.items()}
            told["indices"] = indices.setdefault(next(iter(sampled.values())).indices, len(indices)) if sampled else -1
        except UnusablePredictions as problem:
            told["unsure"] = str(problem)
        made.append(told)
        if number and number % 100 == 0:
            say(f"intervals of {number} of {len(known)} rows")
    return made


def intervals_of(run: Run) -> dict[str, tuple[float, float]]:
    """By score, the interval of one run. Raises UnusablePredictions."""
    found = {name: interval([run], name) for name in scores_with_examples(run)}
    return {name: (_brief(each.low), _brief(each.high)) for name, each in found.items()}


def packed(sampled: Sampled) -> dict[str, Any]:
    """For the page: the interval, and the resamples as base64 of 16-bit steps from the least to the largest."""
    drawn: NDArray[np.float64] = sampled.drawn
    least = float(drawn.min())
    step = (float(drawn.max()) - least) / STEPS or 1.0
    steps = np.round((drawn - least) / step).astype("<u2")
    ends = percentile_interval(drawn)
    written = base64.b64encode(steps.tobytes()).decode()
    return {"low": _brief(ends.low), "high": _brief(ends.high), "from": least, "step": step, "draws": written}


def _shared_scores(runs: Sequence[Run]) -> list[str]:
    """The scores that every run's examples give. Raises UnusablePredictions."""
    each = [scores_with_examples(run) for run in runs]
    return [name for name in each[0] if all(name in others for others in each)]


def _brief(value: float) -> float:
    return float(f"{value:.5g}")
