"""The layers of bottleneck adapters, as a tuner of PEFT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from peft.config import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import nn

from harness.methods.extension import register


@dataclass
class BottleneckConfig(PeftConfig):
    """What PEFT saves beside the weights; the fields are those of `harness.methods.bottleneck.Bottleneck`."""

    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    reduction_factor: float = 16.0
    nonlinearity: str = "relu"
    scale: float = 1.0
    parallel: bool = False
    """Beside the module, from its input; otherwise behind it, from its output."""

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = "BOTTLENECK"
        if isinstance(self.target_modules, list):
            self.target_modules = sorted(set(self.target_modules))


class BottleneckLayer(nn.Module, BaseTunerLayer):
    """A module with bottlenecks, one an adapter, behind or beside it."""

    adapter_layer_names = ("bottleneck_down", "bottleneck_up")

    def __init__(self, base_layer: nn.Module, width: int) -> None:
        """`width`: size of the last dimension of what the bottleneck reads and adds to."""
        super().__init__()
        self.base_layer, self.width = base_layer, width
        self.bottleneck_down, self.bottleneck_up = nn.ModuleDict(), nn.ModuleDict()
        self.configs: dict[str, BottleneckConfig] = {}

    def add(self, name: str, config: BottleneckConfig) -> None:
        """A new adapter. The projection up starts at zero, so that the base's output is unchanged bit for bit."""
        device = next(self.base_layer.parameters()).device
        middle = max(1, int(self.width / config.reduction_factor))
        self.bottleneck_down[name] = nn.Linear(self.width, middle, device=device)
        self.bottleneck_up[name] = up = nn.Linear(middle, self.width, device=device)
        nn.init.zeros_(up.weight)
        nn.init.zeros_(up.bias)
        self.configs[name] = config
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """As the wrapped module's, with x [..., width of its input]."""
        result: torch.Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters:
            return result
        for name in self.active_adapters:
            if name in self.configs:
                config = self.configs[name]
                down: Any = self.bottleneck_down[name]
                up = self.bottleneck_up[name]
                source = x if config.parallel else result
                inner = getattr(torch.nn.functional, config.nonlinearity)(down(source.to(down.weight.dtype)))
                result = result + (config.scale * up(inner)).to(result.dtype)
        return result

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise ValueError("a bottleneck adapter cannot be merged: it is not linear")


class BottleneckModel(BaseTuner):
    """Puts the layers into a model."""

    prefix = "bottleneck_"
    tuner_layer_cls = BottleneckLayer
    target_module_mapping = {}  # noqa: RUF012  # as PEFT declares it

    def _create_and_replace(  # noqa: PLR0913  # as PEFT declares it
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        layer = target
        if not isinstance(layer, BottleneckLayer):
            # `nf` is the output size of GPT-2's Conv1D.
            size = getattr(target, "out_features", None) or getattr(target, "nf", None)
            layer = BottleneckLayer(target, size or self.model.config.hidden_size)
        layer.add(adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        if layer is not target:
            self._replace_module(parent, target_name, layer, target)

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        # PEFT's own copies a weight, which an MLP as a whole has not.
        setattr(parent, child_name, new_module)


register("bottleneck", BottleneckConfig, BottleneckModel)
