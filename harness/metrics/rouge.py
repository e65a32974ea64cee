"""ROUGE (Lin 2004, https://aclanthology.org/W04-1013) by rouge-score; with several references the best one counts."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from statistics import fmean
from types import ModuleType
from typing import TYPE_CHECKING, Any

from harness.metrics import Score
from harness.metrics.tools.unicode import NAME, blind, words

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

_OFFICIAL = re.compile("[a-z0-9]")
"""What rouge-score's words are made of."""
KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")


@dataclass(frozen=True)
class Parts:
    """What one text shares with one reference, 0 to 1."""

    precision: float
    """Share of the text's n-grams, or words of a common subsequence, that the reference has."""
    recall: float
    """Share of the reference's that the text has."""
    f1: float
    """Their harmonic mean."""


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`rouge1`, `rouge2`, `rougeL`, `rougeLsum`: the mean F1 over the examples, 0 to 100, no stemming.

    `rougeL` is the longest common subsequence of the whole texts, precision and recall weighed alike (the E2E scorer's
    ROUGE_L is another definition: family `rouge_l`); `rougeLsum` takes the subsequences line by line. Words are runs of
    a to z and digits; words of any script where some reference has none such, or most in another script than Latin.
    """
    any_script = blind(references) or any(words(t) and not _OFFICIAL.search(t.lower()) for g in references for t in g)
    overlaps = [parts(text, group, any_script) for text, group in zip(predictions, references, strict=True)]
    tokens = f"tok:{NAME}|" if any_script else ""
    signature = f"rouge|f1|refs:best|stem:no|{tokens}rouge-score:{version('rouge-score')}"
    scores = {}
    longest = max(len(words(text)) for group in references for text in group)
    for kind in KINDS:
        if not longest or (any_script and kind == "rouge2" and longest < 2):
            reason = "no reference has two words" if longest else "no reference has words"
            scores[kind] = Score(None, signature, reason=reason)
            continue
        each = tuple(100 * one[kind].f1 for one in overlaps)
        scores[kind] = Score(fmean(each), signature, each, official=0.01)
    return scores


def parts(prediction: str, references: Sequence[str], any_script: bool = False) -> dict[str, Parts]:
    """By kind, what the reference with the best F1 gives; `any_script`: of words of any script."""
    best = _scorer(KINDS[:3], any_script).score_multi(list(references), prediction)
    # Texts of one line have one subsequence, so the two are the same.
    if any("\n" in text.strip() for text in (prediction, *references)):
        best |= _scorer(KINDS[3:], any_script).score_multi(list(references), prediction)
    else:
        best["rougeLsum"] = best["rougeL"]
    return {kind: Parts(one.precision, one.recall, one.fmeasure) for kind, one in best.items()}


class _AnyScript:
    """What rouge-score takes for a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


@cache
def _scorer(kinds: tuple[str, ...], any_script: bool) -> RougeScorer:
    _import_rouge_score()
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(kinds, use_stemmer=False, tokenizer=_AnyScript() if any_script else None)


class _Later(ModuleType):
    """A module that is imported when something of it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what importing it looks at
            raise AttributeError(name)
        return getattr(import_module(self.__name__), name)


def _import_rouge_score() -> None:
    """Import rouge-score, but not yet nltk, which brings pandas, scikit-learn and scipy.stats: seconds of each run, for
    a stemmer and a splitter of sentences that are not asked for here. Whoever asks rouge-score for them gets nltk's.

    `importlib.util.LazyLoader` was not enough: `from nltk.stem import porter` makes it load the package.
    """
    if {"nltk", "rouge_score.rouge_scorer"} & sys.modules.keys():
        return
    later = {name: _Later(name) for name in ("nltk", "nltk.stem", "nltk.stem.porter")}
    vars(later["nltk.stem"])["porter"] = later["nltk.stem.porter"]
    sys.modules |= later
    try:
        import_module("rouge_score.rouge_scorer")
    finally:
        for name in later:
            del sys.modules[name]
