"""References as sacrebleu takes them, and how many there are, for signatures."""

from __future__ import annotations

from collections.abc import Sequence


def streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """The first references of all examples, the second ones, …; None where an example has no more.

    As an empty text, a missing reference would count as a reference of length 0.
    """
    most = max(map(len, references))
    return [[group[i] if i < len(group) else None for group in references] for i in range(most)]


def ref_counts(references: Sequence[Sequence[str]]) -> str:
    """How many references each example has, or `var` where that differs."""
    counts = {len(group) for group in references}
    return str(counts.pop()) if len(counts) == 1 else "var"
