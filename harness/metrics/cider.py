"""CIDEr (Vedantam et al. 2015, https://arxiv.org/abs/1411.5726) by pycocoevalcap: COCO's CIDEr-D."""

from __future__ import annotations

from collections.abc import Sequence

from pycocoevalcap.cider.cider_scorer import CiderScorer

from harness.metrics import Score
from harness.metrics.tools.ptb import tokenized


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`cider`: the mean over examples, 0 to 10, on PTB tokens.

    How much an n-gram weighs comes from the references of all examples: never score in parts. Null for one
    example alone, and for several with the same references, since all weights are 0 then.
    """
    texts = tokenized(predictions, references)
    signature = f"cider|n:4|sigma:6|idf:corpus|tok:{texts.name}"
    if not any(text for group in texts.references for text in group):
        return {"cider": Score(None, signature, reason="the references have no words")}
    scorer = CiderScorer(n=4, sigma=6.0)
    for text, group in zip(texts.predictions, texts.references, strict=True):
        scorer += (text, group)
    mean, scores = scorer.compute_score()
    if min(scorer.document_frequency.values()) == len(references):
        reason = "every example has the same references, so that no n-gram has weight"
        return {"cider": Score(None, signature, reason="there is one example" if len(references) == 1 else reason)}
    return {"cider": Score(float(mean), signature, tuple(map(float, scores)))}
