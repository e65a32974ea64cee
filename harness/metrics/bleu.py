"""BLEU (Papineni et al. 2002) as the E2E challenge's scorer computes it, by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from sacrebleu.metrics.bleu import BLEU

from harness.metrics import Score, check
from harness.metrics._sacrebleu import ref_counts, streams


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`bleu`: corpus BLEU, 0 to 100, with 13a tokens, lower case, exponential smoothing.

    Statistics of an example: output length, reference length, correct 1- to 4-grams, all 1- to 4-grams.
    An example's own score is sentence BLEU with the orders that the output is long enough for.
    """
    sentence = BLEU(lowercase=True, tokenize="13a", effective_order=True)
    rows, scores = [], []
    for prediction, group in zip(predictions, references, strict=True):
        one = sentence.sentence_score(prediction, list(group))
        rows.append((one.sys_len, one.ref_len, *one.counts, *one.totals))
        scores.append(one.score)
    total = of_sums([sum(column) for column in zip(*rows, strict=True)])
    signature = f"bleu|tok:13a|case:lc|refs:{ref_counts(references)}|smooth:exp|sacrebleu:{version('sacrebleu')}"
    return {"bleu": Score(total, signature, tuple(scores), tuple(rows), of_sums, official=0.01)}


def corpus_bleu(
    predictions: Sequence[str], references: Sequence[Sequence[str]], lowercase: bool = True, tokenize: str = "13a"
) -> float:
    """The value of `bleu` alone, by sacrebleu's corpus score; also with its other tokenizers (`none`: white space)."""
    check(predictions, references)
    metric = BLEU(lowercase=lowercase, tokenize=tokenize)
    total = metric.corpus_score(list(predictions), streams(references))  # type: ignore[arg-type]  # None is allowed
    return float(total.score)


def of_sums(sums: Sequence[float]) -> float:
    """Corpus BLEU of summed statistics; the formula is sacrebleu's own."""
    counts = [round(value) for value in sums]
    return float(BLEU.compute_bleu(counts[2:6], counts[6:10], counts[0], counts[1], smooth_method="exp").score)
