"""A metric of one's own: the share of answers that are digits alone, in percent."""

from __future__ import annotations

from collections.abc import Sequence

from harness.metrics import Score


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """By name, what is scored; `examples` is the score of each answer, from which intervals are drawn."""
    examples = tuple(100.0 * text.strip().isdigit() for text in predictions)
    return {"digits": Score(sum(examples) / len(examples), "digits|v1", examples)}
