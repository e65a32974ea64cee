"""Delta-LoRA's term, as a variant of PEFT's LoRA layers: for plain, fused and quantized base weights alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, LoraModel
from peft.tuners._buffer_dict import BufferDict
from peft.utils.other import transpose
from torch import nn
from torch.nn.functional import linear

from harness.methods.extension import register
from harness.methods.low_rank import Adding


@dataclass
class DeltaLoraConfig(LoraConfig):
    """LoRA's configuration with the paper's lambda."""

    ratio: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = "DELTA_LORA"


class DeltaVariant(Adding):
    """`W x + s BA x + ratio * s (BA - B_s A_s) x`; gradients reach A and B by the second term alone."""

    @staticmethod
    def init(module: Any, adapter_name: str, config: Any = None, **_: Any) -> None:
        """Give the module its snapshots `lora_start_A` [rank, in] and `lora_start_B` [out, rank]."""
        module.delta_ratio = getattr(module, "delta_ratio", {}) | {adapter_name: config.ratio}
        for part in ("A", "B"):
            if not hasattr(module, f"lora_start_{part}"):
                setattr(module, f"lora_start_{part}", BufferDict(persistent=True))
                module.other_param_names = (*module.other_param_names, f"lora_start_{part}")
            weight = getattr(module, f"lora_{part}")[adapter_name].weight
            getattr(module, f"lora_start_{part}")[adapter_name] = weight.detach().clone()

    @staticmethod
    def forward(module: Any, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **_: Any) -> torch.Tensor:
        """x [..., in] and the base layer's result [..., out] to what the adapted layer computes."""
        a, b = module.lora_A[active_adapter].weight, module.lora_B[active_adapter].weight
        start_a, start_b = module.lora_start_A[active_adapter], module.lora_start_B[active_adapter]
        x = x.to(a.dtype)
        change = linear(linear(x, a.detach()), b.detach()) - linear(linear(x, start_a), start_b)
        added = module.scaling[active_adapter] * (linear(linear(x, a), b) + module.delta_ratio[active_adapter] * change)
        whole: torch.Tensor = result + added.to(result.dtype)
        return whole

    @classmethod
    def delta(cls, module: Any, adapter: str) -> torch.Tensor:
        start = module.lora_start_B[adapter] @ module.lora_start_A[adapter]
        start = transpose(start, getattr(module, "fan_in_fan_out", False))
        whole: torch.Tensor = module.get_delta_weight(adapter)
        ratio: float = module.delta_ratio[adapter]
        delta: torch.Tensor = (1 + ratio) * whole - ratio * module.scaling[adapter] * start.to(whole.dtype)
        return delta


class DeltaLoraModel(LoraModel):
    """PEFT's LoRA with the term in each of its layers."""

    def _create_and_replace(  # type: ignore[override]  # noqa: PLR0913
        self,
        lora_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        *,
        parameter_name: str | None = None,
    ) -> None:
        super()._create_and_replace(
            lora_config, adapter_name, target, target_name, parent, current_key, parameter_name=parameter_name
        )
        layer = getattr(parent, target_name)
        DeltaVariant.init(layer, adapter_name, lora_config)
        layer.lora_variant[adapter_name] = DeltaVariant()


def take_snapshots(model: nn.Module) -> None:
    """Let each layer's term start from its product as it is now."""
    for module in model.modules():
        for part in ("A", "B"):
            for name, snapshot in getattr(module, f"lora_start_{part}", {}).items():
                snapshot.copy_(getattr(module, f"lora_{part}")[name].weight.detach())


register("delta_lora", DeltaLoraConfig, DeltaLoraModel)
