"""LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685), by PEFT."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from harness.methods import Method


class Lora(Method):
    """`h = W x + alpha/rank * B A x`; A uniform by Kaiming, B zero, so that the start is the base itself."""

    adapts_modules: ClassVar[bool] = True

    lr: Annotated[float, Field(gt=0)]
    rank: Annotated[int, Field(ge=1, le=65536)]
    """Inner dimension of the product; no layer of any model is wider than the upper limit."""
    alpha: Annotated[float, Field(gt=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]

    def label(self) -> str:
        return f"lora r={self.rank}"

    def apply(self, model: Any, tokenizer: Any, targets: dict[str, list[str]]) -> Any:
        from peft import LoraConfig, get_peft_model

        modules = [name for names in targets.values() for name in names]
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # annotated int, used as a factor
            lora_dropout=self.dropout,
            target_modules=modules,
        )
        return get_peft_model(model, config)
