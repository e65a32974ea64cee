"""ROUGE (Lin 2004, https://aclanthology.org/W04-1013) by rouge-score; with several references the best one counts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from statistics import fmean

from rouge_score.rouge_scorer import RougeScorer

from harness.metrics import Score

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`rouge1`, `rouge2`, `rougeL`, `rougeLsum`: the mean F1 over the examples, 0 to 100, no stemming.

    `rougeL` is the longest common subsequence of the whole texts, precision and recall weighed alike (the E2E scorer's
    ROUGE_L is another definition: family `rouge_l`); `rougeLsum` takes the subsequences line by line.
    """
    scorer = RougeScorer(KINDS[:3], use_stemmer=False)
    by_line = RougeScorer(KINDS[3:], use_stemmer=False)
    rows = []
    for prediction, group in zip(predictions, references, strict=True):
        best = scorer.score_multi(list(group), prediction)
        # Texts of one line have one subsequence, so the two are the same.
        lines = any("\n" in text.strip() for text in (prediction, *group))
        summary = by_line.score_multi(list(group), prediction)["rougeLsum"] if lines else best["rougeL"]
        rows.append([100 * each.fmeasure for each in (*(best[kind] for kind in KINDS[:3]), summary)])
    signature = f"rouge|f1|refs:best|stem:no|rouge-score:{version('rouge-score')}"
    columns = zip(*rows, strict=True)
    return {
        kind: Score(fmean(column), signature, tuple(column), official=0.01)
        for kind, column in zip(KINDS, columns, strict=True)
    }
