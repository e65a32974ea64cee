"""The same test examples read otherwise, with typing errors or in other words around them: how much a score owes to the
one way in which they were written."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness import data
from harness.data import Source, Splits
from harness.evaluate import Scores, write_lines
from harness.sections import Paraphrase, Typos
from harness.task import Base, Task

if TYPE_CHECKING:
    from harness.config import Eval, RunSettings

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


def readings(settings: RunSettings, base: Base, shots: int | None = None) -> dict[str, Task]:
    """By name, the run's task with its test inputs read otherwise, to predict with: `typos` with typing errors in them,
    `paraphrase_1` … in another template. Their predictions are scored by the run's own task."""
    chosen = settings.eval
    sources: dict[str, Source] = {}
    if chosen.typos:
        sources["typos"] = mistyped(settings.data, chosen.typos, chosen.typo_seed)
    for number, template in enumerate(chosen.paraphrases, 1):
        sources[f"paraphrase_{number}"] = settings.data.model_copy(update={"prompt": template})
    return {name: Task(settings.model_copy(update={"data": source}), base, shots) for name, source in sources.items()}


def reread(
    others: dict[str, Task], task: Task, clean: Scores, predict: Callable[[Task], Any], folder: Path
) -> dict[str, dict[str, Any]]:
    """For each reading its scores (`quality`) and the share of predictions that are the clean ones (`agreement`).
    Writes its lines into `folder`, as NAME.jsonl."""
    found = {}
    for name, other in others.items():
        scores = task.score(predict(other))
        write_lines(folder / f"{name}.jsonl", scores.lines)
        same = fmean(a["prediction"] == b["prediction"] for a, b in zip(clean.lines, scores.lines, strict=True))
        found[name] = {"quality": scores.quality, "agreement": same}
    return found


def sections(
    settings: Eval, found: dict[str, dict[str, Any]], base: dict[str, dict[str, Any]]
) -> tuple[Typos | None, list[Paraphrase] | None]:
    """The record's sections, of what `reread` found under the run's model and under the base."""

    def fields(name: str) -> dict[str, Any]:
        return found[name] | {"base_quality": base[name]["quality"]}

    typed = Typos(share=settings.typos, seed=settings.typo_seed, **fields("typos")) if settings.typos else None
    templates = enumerate(settings.paraphrases, 1)
    said = [Paraphrase(prompt=template, **fields(f"paraphrase_{number}")) for number, template in templates]
    return typed, said or None
