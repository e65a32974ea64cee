"""ROUGE (Lin 2004) by rouge-score; with several references the best one counts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from rouge_score.rouge_scorer import RougeScorer

KINDS = ("rouge1", "rouge2", "rougeL")


def rouge(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    """For each example its F1 (0 to 100) of ROUGE-1, ROUGE-2 and ROUGE-L, longest common subsequence, no stemming.

    `rougeL` weighs precision and recall alike; the E2E scorer's ROUGE_L is another definition.
    """
    scorer = RougeScorer(KINDS, use_stemmer=False)
    rows = []
    for prediction, group in zip(predictions, references, strict=True):
        best = scorer.score_multi(list(group), prediction)
        rows.append({kind: 100 * best[kind].fmeasure for kind in KINDS})
    return rows


def signature() -> str:
    """Which scorer, version and settings."""
    return f"rouge|f1|refs:best|stem:no|rouge-score:{version('rouge-score')}"
