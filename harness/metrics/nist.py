"""NIST (Doddington 2002, https://dl.acm.org/doi/10.5555/1289189.1289273) as two scripts compute it: Perl's mteval and
pymteval. They differ in the length that an output should have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from math import log, log2

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from harness.metrics import Score, ratio
from harness.metrics.tools.unicode import NAME, tokens, unspaced

ORDER = 5
BETA = log(0.5) / log(1.5) ** 2
"""A length of two thirds halves the score."""

Counts = Counter[tuple[str, ...]]


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`nist` (Perl mteval, the E2E leaderboard) and `nist_pymteval` (`-p`, the LoRA paper), 13a tokens in lower case.

    Where no spaces part the words of some reference (Chinese, Thai, …), words of any script are the tokens.
    The information of an n-gram comes from all references, also for an example's own score. Statistics of an example:
    for each order the information of its matched n-grams, for each order its n-grams; its words, its references' words,
    its references, 1, its references' mean words.
    """
    name_of, tokenize = tokenizer(references)
    outputs = [tokenize(text) for text in predictions]
    groups = [[tokenize(text) for text in group] for group in references]
    counts = [[ngrams(words) for words in group] for group in groups]
    weights = information(counts)
    rows = []
    for words, lists, group in zip(outputs, groups, counts, strict=True):
        allowed: Counts = Counter()
        for one in group:
            allowed |= one  # the largest count over the references
        gained = [0.0] * ORDER
        for ngram, count in (ngrams(words) & allowed).items():
            gained[len(ngram) - 1] += count * weights[ngram]
        sizes = [max(len(words) - n, 0) for n in range(ORDER)]
        length = sum(map(len, lists))
        rows.append((*gained, *sizes, len(words), length, len(lists), 1, length / len(lists)))
    scores = {}
    for (name, combine), length_of in zip(OF_SUMS.items(), ("perl", "pymteval"), strict=True):
        signature = f"nist|order:{ORDER}|tok:{name_of}|case:lc|length:{length_of}|sacrebleu:{version('sacrebleu')}"
        value, each = float(combine(np.sum(rows, axis=0))), tuple(combine(rows).tolist())
        scores[name] = Score(value, signature, each, tuple(rows), combine)
    return scores


def tokenizer(references: Sequence[Sequence[str]]) -> tuple[str, Callable[[str], list[str]]]:
    """The tokenizer that reads these references and what is scored against them, with its name."""
    if unspaced(references):
        return NAME, tokens
    tokenize = Tokenizer13a()  # type: ignore[no-untyped-call]
    return "13a", lambda text: tokenize(text.lower().rstrip()).split()


def ngrams(words: Sequence[str]) -> Counts:
    """How often each n-gram of orders 1 to 5 occurs."""
    return Counter(tuple(words[i : i + n]) for n in range(1, ORDER + 1) for i in range(len(words) - n + 1))


def information(counts: Sequence[Sequence[Counts]]) -> dict[tuple[str, ...], float]:
    """Bits of each n-gram: log2 of how often its first words occur over how often it does; for a word, of all words."""
    pooled: Counter[tuple[str, ...]] = Counter()
    for group in counts:
        for one in group:
            pooled.update(one)
    pooled[()] = sum(count for ngram, count in pooled.items() if len(ngram) == 1)
    return {ngram: log2(pooled[ngram[:-1]] / count) for ngram, count in pooled.items() if ngram}


def of_sums_perl(sums: ArrayLike) -> NDArray[np.float64]:
    """The score of summed statistics; the output should be as long as all references over the mean number of them."""
    rows = np.asarray(sums, dtype=np.float64)
    words, references, items = rows[..., -4], rows[..., -3], rows[..., -2]
    return _of_sums(rows, words * items / references)


def of_sums_pymteval(sums: ArrayLike) -> NDArray[np.float64]:
    """The score of summed statistics; the output should be as long as the sum of the items' mean reference length."""
    rows = np.asarray(sums, dtype=np.float64)
    return _of_sums(rows, rows[..., -1])


def _of_sums(rows: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    gained = ratio(rows[..., :ORDER], rows[..., ORDER : 2 * ORDER]).sum(axis=-1)
    share = np.minimum(1.0, ratio(rows[..., 2 * ORDER], wanted))
    penalty = np.exp(BETA * np.log(np.where(share > 0, share, 1.0)) ** 2)
    return np.where(share > 0, gained * penalty, 0.0)


OF_SUMS = {"nist": of_sums_perl, "nist_pymteval": of_sums_pymteval}
