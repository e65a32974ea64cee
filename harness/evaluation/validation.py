"""Scores of answers to the validation examples, which trials of tuning may be compared by. Imports no torch."""

from __future__ import annotations

import functools
import math
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from harness import data, metrics
from harness.data import Example, Source
from harness.data.splits import by_task
from harness.errors import UserError, nearest
from harness.evaluation.scores import Prediction, Scores, score_examples
from harness.results.sections import Better
from harness.results.tuned import VAL_LOSS

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings


def better_of(settings: RunSettings) -> Better:
    """Which values of `tune.by` are better. Raises UserError where trials cannot be compared by it: tried on right
    answers to the validation examples, before anything is loaded or trained."""
    by, examples = settings.tune.by, settings.train.validation_examples
    if by == VAL_LOSS:
        return "lower"
    scores, name = _of_right_answers(settings.data, examples, by, settings.eval.run_code), f"tune.by={by}"
    if by not in scores.quality:
        known = [VAL_LOSS, *(score for score, which in scores.better.items() if which != "neither")]
        raise UserError(f"{name}: data={settings.data.name} has no such score of validation; {nearest(by, known)}")
    if scores.quality[by] is None:
        raise UserError(f"{name}: of the validation examples it is not defined: {scores.reasons[by]}; choose another")
    if scores.better[by] == "neither":
        raise UserError(f"{name}: neither more nor less of it is better; choose another, or {VAL_LOSS}")
    return scores.better[by]


@functools.cache
def _of_right_answers(source: Source, examples: int, only: str, run_code: bool) -> Scores:
    chosen = by_task(data.load(source)[0].validation, examples)
    right = [_right(source.of(example), example) for example in chosen]
    return score_examples(source, chosen, right, only=only, run_code=run_code)


def _right(source: Source, example: Example) -> Prediction:
    """The prediction that an example asks for."""
    if source.plain:
        return Prediction("", log_likelihood=-1.0, tokens=1)
    text = example.references[0]
    if source.classes is None:
        return Prediction(text)
    sure = tuple(float(name == text) for name in source.classes)
    return Prediction(text, sure, None if source.head else sure)


def example_parts(scores: Scores, name: str) -> list[float]:
    """What each example has of a score, for paired tests: its own score where that of all is the mean; where it is made
    of sums, as BLEU, the jackknife's pseudo-value, n times the score minus n - 1 times that without the example (Tukey
    1958; Efron and Tibshirani 1993, chapter 11). Empty where it is neither."""
    task, _, own = name.rpartition("/")
    lines = [line for line in scores.lines if line.get("task", "") == task]
    rows, value = [line[own] for line in lines if own in line], scores.quality.get(name)
    if value is None or not rows or len(rows) < len(lines):
        return []
    if not isinstance(rows[0], list):
        return list(rows) if math.isclose(fmean(rows), value, rel_tol=1e-6, abs_tol=1e-9) else []
    if (of_sums := metrics.of_sums(own)) is None:
        return []
    table, n = np.array(rows), len(rows)
    whole = table.sum(axis=0)
    return [float(each) for each in n * of_sums(whole) - (n - 1) * of_sums(whole - table)]
