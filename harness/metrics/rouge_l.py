"""ROUGE_L as COCO's and the E2E challenge's scorers define it, by pycocoevalcap."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from pycocoevalcap.rouge.rouge import Rouge

from harness.metrics import Score
from harness.metrics.tools.ptb import tokenized


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`rouge_l`: the mean over examples of F with beta 1.2 of the best precision and the best recall, 0 to 100.

    Best over the references, each on its own; of the longest common subsequence of PTB tokens.
    """
    texts = tokenized(predictions, references)
    scorer = Rouge()
    pairs = zip(texts.predictions, texts.references, strict=True)
    scores = tuple(100 * float(scorer.calc_score([text], group)) for text, group in pairs)
    return {"rouge_l": Score(fmean(scores), f"rouge_l|beta:1.2|tok:{texts.name}", scores, official=0.01)}
