"""Exact match and token F1 of short answers, as SQuAD defines them (Rajpurkar et al. 2016, 2018)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from harness.metrics import Score
from harness.metrics.tools.unicode import NAME, unspaced, words

_SIGNATURE = "squad|case:lc|punct:no|articles:no|refs:best"


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`exact_match`, `token_f1`: means over the items, of the best reference, 0 to 100 as SQuAD's script has it.

    Where no spaces part the words of some reference (Chinese, Thai, …), `token_f1` is of words of any script.
    """
    any_script = unspaced(references)
    tokens = f"|tok:{NAME}" if any_script else ""
    pairs = list(zip(predictions, references, strict=True))
    exact = tuple(100.0 * any(normal(text) == normal(r) for r in group) for text, group in pairs)
    shared = tuple(100 * max(token_f1(text, r, any_script) for r in group) for text, group in pairs)
    return {
        "exact_match": Score(fmean(exact), f"exact_match|{_SIGNATURE}", exact),
        "token_f1": Score(fmean(shared), f"token_f1|{_SIGNATURE}{tokens}", shared),
    }


def normal(text: str) -> str:
    """Lower case without punctuation (ASCII), the articles a, an, the, and extra white space."""
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def token_f1(text: str, reference: str, any_script: bool = False) -> float:
    """Harmonic mean of precision and recall of words, 0 to 1. An empty answer is right where the reference is empty."""
    parted = words if any_script else str.split
    answer, wanted = parted(normal(text)), parted(normal(reference))
    if not answer or not wanted:
        return float(answer == wanted)
    common = sum((Counter(answer) & Counter(wanted)).values())
    return 2 * common / (len(answer) + len(wanted))
