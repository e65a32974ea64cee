"""Typing errors in what a model reads, to see how much of a score depends on clean input."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness import data
from harness.data import Source, Splits
from harness.task import Base, Task

if TYPE_CHECKING:
    from harness.config import RunSettings

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
BESIDE = {key: [row[i] for i in (at - 1, at + 1) if 0 <= i < len(row)] for row in ROWS for at, key in enumerate(row)}
"""For each letter those beside it on a QWERTY keyboard."""


def typos(text: str, share: float, seed: int) -> str:
    """`text` with slips of the fingers: each letter is hit with probability `share`, and then swapped with the letter
    behind it, left out, doubled, or replaced by one beside it on the keyboard, each as likely where it can be.

    What is not a letter stays. The same text, share and seed give the same slips.
    """
    draw = random.Random(f"typos {seed} {text}")
    made, at = [], 0
    while at < len(text):
        letter, behind = text[at], text[at + 1 : at + 2]
        at += 1
        if not letter.isalpha() or draw.random() >= share:
            made.append(letter)
            continue
        ways = ["", letter * 2]
        if behind.isalpha() and behind != letter:
            ways.append(behind + letter)
        if beside := BESIDE.get(letter.lower()):
            other = draw.choice(beside)
            ways.append(other.upper() if letter.isupper() else other)
        chosen = draw.choice(ways)
        made.append(chosen)
        at += chosen == behind + letter
    return "".join(made)


def mistyped(source: Source, share: float, seed: int) -> Source:
    """The same task with typing errors in the inputs of its test split; prompts and references are as they were."""
    kind: Any = type(source)

    class Mistyped(kind):  # type: ignore[misc]  # all that is known of the task is its own class's
        def load(self) -> Splits:
            splits = data.load(source)[0]
            return replace(splits, test=tuple(replace(e, source=typos(e.source, share, seed)) for e in splits.test))

    made: Source = Mistyped.model_construct(**dict(source))
    return made


def mistyped_task(settings: RunSettings, base: Base, shots: int | None = None) -> Task | None:
    """The run's task with typing errors in its test inputs, to predict with; None where they are off. Its predictions
    are scored by the clean task, which knows the inputs as they were."""
    if not settings.eval.typos:
        return None
    source = mistyped(settings.data, settings.eval.typos, settings.eval.typo_seed)
    return Task(settings.model_copy(update={"data": source}), base, shots)


def same(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> float:
    """Share of test examples with the same prediction in two lists of lines."""
    return fmean(a["prediction"] == b["prediction"] for a, b in zip(one, other, strict=True))
