"""(IA)3 (Liu et al. 2022, https://arxiv.org/abs/2205.05638), by PEFT."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from harness.methods import Method


class Ia3(Method):
    """Learned factors, one at the start: on the outputs of attention modules, on the inputs of `down` in the MLP."""

    adapts_modules: ClassVar[bool] = True

    lr: Annotated[float, Field(gt=0)]

    def apply(self, model: Any, tokenizer: Any, targets: dict[str, list[str]]) -> Any:
        from peft import IA3Config, get_peft_model

        modules = [name for names in targets.values() for name in names]
        config = IA3Config(task_type="CAUSAL_LM", target_modules=modules, feedforward_modules=targets.get("down", []))
        return get_peft_model(model, config)
