"""What a text looks like beside its source and its references, whatever it says: overlap scores can be gamed, and these
show how. Words are runs of letters and digits in lower case; words of any script where references are in another than
Latin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.metrics import Score
from harness.metrics import ratio as divided
from harness.metrics.tools.unicode import NAME, blind
from harness.metrics.tools.unicode import words as words_of_any_script

Pair = tuple[str, str]


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`length_ratio`, `copy_rate`, `distinct_1`, `distinct_2`, `repetition`; shares are 0 to 1.

    `length_ratio`: words of all outputs over the references' (mean over those of an item).
    `copy_rate`: share of the outputs' pairs of adjacent words that stand in the source: 1 less that of novel bigrams
    (See et al. 2017, https://aclanthology.org/P17-1099). Null without sources.
    `distinct_n`: different n-grams over all n-grams of all outputs (Li et al. 2016, https://aclanthology.org/N16-1014).
    `repetition`: mean over outputs of 1 less distinct over all bigrams (Welleck et al. 2020,
    https://arxiv.org/abs/1908.04319).
    """
    parted, tokens = (words_of_any_script, f"|tok:{NAME}") if blind(references) else (words, "")
    texts = [parted(text) for text in predictions]
    bigrams = [pairs(text) for text in texts]
    lengths = [fmean(len(parted(text)) for text in group) for group in references]
    sizes = tuple((float(len(text)), length) for text, length in zip(texts, lengths, strict=True))
    repeated = tuple(1 - len(set(each)) / len(each) if each else 0.0 for each in bigrams)
    scores = {
        "length_ratio": _ratio(f"length_ratio|words{tokens}", sizes),
        "copy_rate": Score(None, f"copy_rate|bigrams{tokens}", reason="needs the inputs; the files give none"),
        "distinct_1": Score(_distinct([(word, "") for text in texts for word in text]), f"distinct|n:1{tokens}"),
        "distinct_2": Score(_distinct([pair for each in bigrams for pair in each]), f"distinct|n:2{tokens}"),
        "repetition": Score(fmean(repeated), f"repetition|n:2{tokens}", repeated),
    }
    if sources is not None:
        kept = [set(pairs(parted(source))) for source in sources]
        rows = tuple(
            (float(sum(pair in known for pair in each)), float(len(each)))
            for each, known in zip(bigrams, kept, strict=True)
        )
        scores["copy_rate"] = _ratio(f"copy_rate|bigrams{tokens}", rows)
    return {name: replace(one, better="neither") for name, one in scores.items()}


def words(text: str) -> list[str]:
    """Runs of letters and digits, in lower case."""
    return re.findall(r"\w+", text.lower())


def pairs(text: Sequence[str]) -> list[Pair]:
    """Adjacent words."""
    return list(pairwise(text))


def _distinct(ngrams: Sequence[Pair]) -> float:
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def _ratio(signature: str, rows: tuple[tuple[float, float], ...]) -> Score:
    """The sum of the first over the sum of the second; null where that is 0."""
    value = of_sums(np.sum(rows, axis=0))
    if not sum(row[1] for row in rows):
        return Score(None, signature, reason="there is nothing to divide by: no such words")
    return Score(float(value), signature, tuple(of_sums(rows).tolist()), rows, of_sums)


def of_sums(sums: ArrayLike) -> NDArray[np.float64]:
    """The first sum over the second, 0 where that is 0."""
    above, below = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    return divided(above, below)


OF_SUMS = {"length_ratio": of_sums, "copy_rate": of_sums}
