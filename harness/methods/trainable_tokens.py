"""Trainable tokens: the embeddings of some tokens and nothing else, by PEFT."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Annotated, Any

from pydantic import Field

from harness.methods import Site
from harness.methods.tuner import Tuner


class TrainableTokens(Tuner):
    """The rows of the embedding that the training data use most; a tied output head moves with them."""

    peft: str = "TRAINABLE_TOKENS"
    tokens: Annotated[int, Field(ge=1)]
    """How many rows; fewer where the data hold fewer different tokens."""
    batches: Annotated[int, Field(ge=1)]
    """First training batches in which the tokens are counted."""

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        counts: Counter[int] = Counter()
        for batch in islice(site.batches(), self.batches):
            counts.update(batch["input_ids"][batch["attention_mask"].bool()].tolist())
        # Most used first; of two that are used alike the one with the lower id, so that the choice is always the same.
        chosen = sorted(counts, key=lambda token: (-counts[token], token))[: self.tokens]
        return super().fields(model, site) | {"token_indices": sorted(chosen)}
