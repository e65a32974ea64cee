"""LLaMA-Adapter (Zhang et al. 2023, https://arxiv.org/abs/2303.16199), by PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness.methods import Site
from harness.methods.tuner import Tuner


class AdaptionPrompt(Tuner):
    """In the top blocks, attention to trained vectors is added to attention to the text, times a gate that starts at
    zero: `attention(x) + g * softmax(q K_p) V_p`."""

    peft: str = "ADAPTION_PROMPT"
    virtual_tokens: Annotated[int, Field(ge=1)]
    layers: Annotated[int, Field(ge=1)] | None
    """Blocks, counted from the top; None: all."""

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        layers = model.config.num_hidden_layers if self.layers is None else self.layers
        return super().fields(model, site) | {"adapter_len": self.virtual_tokens, "adapter_layers": layers}

    def apply(self, model: Any, site: Site) -> Any:
        return _in_precision_of_base(super().apply(model, site))

    def load(self, model: Any, folder: Path) -> Any:
        return _in_precision_of_base(super().load(model, folder))


def _in_precision_of_base(model: Any) -> Any:
    """PEFT hands the vectors, which are trained in fp32, to the base's projections as they are."""
    import torch
    from peft.tuners.adaption_prompt.layer import _BaseAdaptedAttention

    embeddings = model.get_input_embeddings().weight
    if embeddings.dtype != torch.float32:
        for module in model.modules():
            if isinstance(module, _BaseAdaptedAttention):
                cast: Any = torch.autocast(embeddings.device.type, dtype=embeddings.dtype)
                module.forward = cast(module.forward)
    return model
