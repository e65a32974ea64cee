"""A data source of one's own: sums, one example for every pair of numbers."""

from __future__ import annotations

import random
from typing import Annotated

from pydantic import Field

from harness.data import Example, Source, Splits


class Sums(Source):
    """Its fields, besides those of every source, are the settings in sums.yaml."""

    largest: Annotated[int, Field(ge=9)]

    def load(self) -> Splits:
        numbers = range(self.largest + 1)
        examples = [Example(f"{a} + {b}", (str(a + b),)) for a in numbers for b in numbers]
        random.Random(0).shuffle(examples)
        tenth = len(examples) // 10
        return Splits(tuple(examples[2 * tenth :]), tuple(examples[:tenth]), tuple(examples[tenth : 2 * tenth]))
