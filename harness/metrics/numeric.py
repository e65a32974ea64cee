"""Whether the number that an answer ends on is the right one, as GSM8K is scored (Cobbe et al. 2021,
https://arxiv.org/abs/2110.14168)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from statistics import fmean

from harness.errors import UserError
from harness.metrics import Score

_NUMBER = re.compile(r"(?:(?<![\w)])-\s?\$?)?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|(?<!\d)\.\d+")
"""Digits, also with commas between thousands; a minus counts where no word stands before it."""


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`numeric_match`: percent of items whose prediction's last number equals the reference's last one after `####`.

    Without `####` the reference's last number counts; of several references any. Raises UserError for one without one.
    """
    right = []
    for item, (text, group) in enumerate(zip(predictions, references, strict=True), start=1):
        wanted = [last_number(reference.rpartition("####")[2]) for reference in group]
        if None in wanted:
            raise UserError(f"metric numeric: the reference of item {item} has no number after ####")
        right.append(100.0 * (last_number(text) in wanted))
    return {"numeric_match": Score(fmean(right), "numeric_match|last number|gsm8k", tuple(right))}


def last_number(text: str) -> Decimal | None:
    """The last number in `text`, None where there is none."""
    numbers = _NUMBER.findall(text)
    return Decimal(re.sub(r"[,$\s]", "", numbers[-1])) if numbers else None
