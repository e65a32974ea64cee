"""BLEU (Papineni et al. 2002) as the E2E challenge's scorer computes it, by sacrebleu."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sacrebleu.metrics.bleu import BLEU

from harness.metrics import Score, check, ratio
from harness.metrics.tools.sacrebleu_references import ref_counts, streams
from harness.metrics.tools.unicode import NAME, blind, tokens, unspaced

ORDER = 4
"""Words of the longest n-grams."""
LIBRARY = {"13a": "13a", NAME: "none"}
"""By the name of a tokenizer, sacrebleu's that goes on from `reader`'s spaces."""


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`bleu`: corpus BLEU, 0 to 100, with 13a tokens, lower case, exponential smoothing.

    Where no spaces part the words of some reference (Chinese, Thai, …), words of any script are the tokens; null where
    references in another script than Latin are all shorter than an n-gram. In Latin script that is 0, as in sacrebleu.
    Statistics of an example: output length, reference length, correct 1- to 4-grams, all 1- to 4-grams.
    An example's own score is sentence BLEU with the orders that the output is long enough for.
    """
    name, spaced = reader(references)
    signature = f"bleu|tok:{name}|case:lc|refs:{ref_counts(references)}|smooth:exp|sacrebleu:{version('sacrebleu')}"
    sentence = BLEU(lowercase=True, tokenize=LIBRARY[name], effective_order=True)
    if blind(references) and all(
        len(sentence.tokenizer(spaced(text)).split()) < ORDER for group in references for text in group
    ):
        return {"bleu": Score(None, signature, reason=f"no reference has {ORDER} words")}
    rows, scores = [], []
    for prediction, group in zip(predictions, references, strict=True):
        one = sentence.sentence_score(spaced(prediction), [spaced(text) for text in group])
        rows.append((one.sys_len, one.ref_len, *one.counts, *one.totals))
        scores.append(one.score)
    total = float(of_sums(np.sum(rows, axis=0)))
    return {"bleu": Score(total, signature, tuple(scores), tuple(rows), of_sums, official=0.01)}


def corpus_bleu(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    lowercase: bool = True,
    tokenize: str | None = None,
) -> float:
    """The value of `bleu` alone, by sacrebleu's corpus score; also with one of its other tokenizers (`none`: white
    space)."""
    check(predictions, references)
    name, spaced = reader(references) if tokenize is None else (tokenize, str)
    metric = BLEU(lowercase=lowercase, tokenize=LIBRARY.get(name, name))
    known = streams([[spaced(text) for text in group] for group in references])
    total = metric.corpus_score([spaced(text) for text in predictions], known)  # type: ignore[arg-type]  # None is allowed
    return float(total.score)


def reader(references: Sequence[Sequence[str]]) -> tuple[str, Callable[[str], str]]:
    """The name of the tokenizer that reads these references and what is scored against them, and what puts spaces
    between a text's tokens where sacrebleu's own does not."""
    return (NAME, lambda text: " ".join(tokens(text))) if unspaced(references) else ("13a", str)


def of_sums(sums: ArrayLike) -> NDArray[np.float64]:
    """Corpus BLEU, shape [...], of summed statistics, shape [..., 10]: sacrebleu's `compute_bleu` for many at once."""
    counts = np.rint(np.asarray(sums, dtype=np.float64))
    output, reference = counts[..., 0], counts[..., 1]
    matches, totals = np.moveaxis(counts[..., 2:].reshape(*counts.shape[:-1], 2, 4), -2, 0)
    # Exponential smoothing: the k-th order without a match counts 1 / 2^k of one.
    missed = matches == 0
    credit = np.where(missed, 0.5 ** missed.cumsum(axis=-1), matches) if missed.any() else matches
    precisions = ratio(credit, totals)
    scored = (matches > 0).any(axis=-1) & (totals > 0).all(axis=-1)
    mean = np.exp(np.log(precisions, out=np.zeros_like(precisions), where=precisions > 0).mean(axis=-1))
    short = np.exp(np.minimum(0.0, 1 - ratio(reference, output)))
    return np.where(scored & ((output > 0) | (reference == 0)), 100 * short * mean, 0.0)


OF_SUMS = {"bleu": of_sums}
