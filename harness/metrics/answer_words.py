"""Which of a question's answer words a text says first, as LLM-Adapters scores its eight sets (Hu et al. 2023,
https://arxiv.org/abs/2304.01933, `commonsense_evaluate.py`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean

from harness.errors import UserError
from harness.metrics import Score

KINDS = tuple(
    re.compile(words)
    for words in (
        "true|false",
        "solution[12]",
        "answer[12345]",
        "ending[1234]",
        "option[12]",
    )  # piqa, ARC, hellaswag, …
)
"""The answer words of each kind of question; the reference says which kind it is."""


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`accuracy`: share of items whose prediction's first answer word is a reference, 0 to 1. Case counts; a text
    without an answer word is wrong. Raises UserError for a reference that is no answer word."""
    right = []
    for item, (text, group) in enumerate(zip(predictions, references, strict=True), start=1):
        kinds = [kind for kind in KINDS for each in group if kind.fullmatch(each)]
        if len(kinds) < len(group):
            known = ", ".join(kind.pattern for kind in KINDS)
            raise UserError(f"metric answer_words: the reference of item {item} is none of {known}")
        found = kinds[0].search(text)
        right.append(float(found is not None and found[0] in group))
    return {"accuracy": Score(fmean(right), "accuracy|first answer word|llm-adapters", tuple(right))}
