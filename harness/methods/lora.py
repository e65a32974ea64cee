"""LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685) and what varies its start or its product, by PEFT."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from harness.methods import Site
from harness.methods.tuner import Rank, Tuner


class Lora(Tuner):
    """`h = W x + alpha/rank * B A x`; A uniform by Kaiming, B zero, so that the start is the base itself."""

    peft: str = "LORA"
    rank: Rank
    alpha: Annotated[float, Field(gt=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        own = {"r": self.rank, "lora_alpha": self.alpha, "lora_dropout": self.dropout}
        return super().fields(model, site) | own

    def apply(self, model: Any, site: Site) -> Any:
        from harness.methods.low_rank import add_in_place

        adapted = super().apply(model, site)
        add_in_place(adapted)
        return adapted
