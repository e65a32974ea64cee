"""Delta-LoRA (Zi et al. 2023, https://arxiv.org/abs/2309.02411)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from harness.methods import Site
from harness.methods.extension import ExtensionTuner
from harness.methods.tuner import Rank


class DeltaLora(ExtensionTuner):
    """LoRA without dropout whose product's change of each step is also made to the base weight.

    The paper's update `W <- W + ratio * alpha/rank * (B'A' - BA)` (algorithm 1) telescopes: t steps on from the step s
    it starts after, the weight is `W + ratio * alpha/rank * (B_t A_t - B_s A_s)`, of which no gradient reaches A and B.
    So it is computed as such beside the weight, which stays as it is and may be quantized.
    """

    layers: ClassVar[str] = "harness.methods.delta_lora_layers"

    peft: str = "DELTA_LORA"
    rank: Rank
    alpha: Annotated[float, Field(gt=0)]
    ratio: Annotated[float, Field(gt=0)]
    """The paper's lambda."""
    start_step: Annotated[int, Field(ge=0)]
    """The paper's K: the base weight changes from the step after this one on."""

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        own = {"r": self.rank, "lora_alpha": self.alpha, "ratio": self.ratio}
        return super().fields(model, site) | own

    def after_step(self, model: Any, step: int) -> None:
        from harness.methods.delta_lora_layers import take_snapshots

        if step <= self.start_step:
            take_snapshots(model)

    def state(self, model: Any) -> dict[str, Any]:
        return {name: buffer for name, buffer in model.named_buffers() if "lora_start_" in name}
