"""BLEU (Papineni et al. 2002) as the E2E challenge's scorer computes it, by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu.metrics.bleu import BLEU


@dataclass(frozen=True)
class Bleu:
    """A corpus score with what it is made of."""

    score: float
    """0 to 100."""
    statistics: tuple[tuple[int, ...], ...]
    """For each example: output length, reference length, correct 1- to 4-grams, all 1- to 4-grams. They add up."""
    signature: str


def corpus_bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Bleu:
    """BLEU of one prediction for each group of references: 13a tokens, lower case, exponential smoothing.

    Raises ValueError where the counts differ or a group is empty.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} groups of references")
    if not all(references):
        raise ValueError(f"item {[bool(r) for r in references].index(False) + 1} has no references")
    metric = BLEU(lowercase=True, tokenize="13a")
    most = max(map(len, references))
    # A missing reference is None: as an empty string it would count as a reference of length 0.
    streams = [[group[i] if i < len(group) else None for group in references] for i in range(most)]
    total = metric.corpus_score(list(predictions), streams)  # type: ignore[arg-type]  # None is allowed, not annotated
    signature = str(metric.get_signature())
    sentence = BLEU(lowercase=True, tokenize="13a", effective_order=True)
    rows = []
    for prediction, group in zip(predictions, references, strict=True):
        one = sentence.sentence_score(prediction, list(group))
        rows.append((one.sys_len, one.ref_len, *one.counts, *one.totals))
    return Bleu(total.score, tuple(rows), signature)
