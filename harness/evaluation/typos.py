"""Text with typing errors of a keyboard."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from harness import data
from harness.data import Example, Source, Splits

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
BESIDE = {key: [row[i] for i in (at - 1, at + 1) if 0 <= i < len(row)] for row in ROWS for at, key in enumerate(row)}
"""For each letter those beside it on a QWERTY keyboard."""


def typos(text: str, share: float, seed: int) -> str:
    """`text` with slips of the fingers: each letter is hit with probability `share`, and then swapped with the letter
    behind it, left out, doubled, or replaced by one beside it on the keyboard, each as likely where it can be.

    What is not a letter stays. The same text, share and seed give the same slips.
    """
    draw = random.Random(f"typos {seed} {text}")
    letters, at = [], 0
    while at < len(text):
        letter, behind = text[at], text[at + 1 : at + 2]
        at += 1
        if not letter.isalpha() or draw.random() >= share:
            letters.append(letter)
            continue
        ways = ["", letter * 2]
        if behind.isalpha() and behind != letter:
            ways.append(behind + letter)
        if beside := BESIDE.get(letter.lower()):
            other = draw.choice(beside)
            ways.append(other.upper() if letter.isupper() else other)
        chosen = draw.choice(ways)
        letters.append(chosen)
        at += chosen == behind + letter
    return "".join(letters)


def _mistyped(example: Example, share: float, seed: int) -> Example:
    """The example with typing errors in its input; of a conversation, in the user's turns."""
    turns = tuple((role, typos(text, share, seed) if role == "user" else text) for role, text in example.turns)
    return replace(example, source=typos(example.source, share, seed), turns=turns)


def mistyped(source: Source, share: float, seed: int) -> Source:
    """The same task with typing errors in the inputs of its test split; prompts and references are as they were."""
    kind: Any = type(source)

    class Mistyped(kind):  # type: ignore[misc]  # all that is known of the task is its own class's
        def load(self) -> Splits:
            splits = data.load(source)[0]
            return replace(splits, test=tuple(_mistyped(e, share, seed) for e in splits.test))

    perturbed: Source = Mistyped.model_construct(**dict(source))
    return perturbed
