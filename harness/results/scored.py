"""Which examples of a split a run scores."""

from __future__ import annotations

import random


def scored(examples: int, count: int | None) -> list[int]:
    """The places of `count` of these many examples, the same for every run and seed, ascending; all for None."""
    if count is None or count >= examples:
        return list(range(examples))
    return sorted(random.Random("examples").sample(range(examples), count))
