"""Bottleneck adapters: a small network with a narrow middle, on the stream of hidden states of every block."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from harness.errors import UserError
from harness.methods import Site
from harness.methods.extension import ExtensionTuner


class Bottleneck(ExtensionTuner):
    """`h + scale * U f(D h + b) + c` on the outputs h of the chosen modules, before the residual is added.

    Houlsby et al. 2019 (https://arxiv.org/abs/1902.00751, figure 2) on the outputs of attention and of the MLP;
    Pfeiffer et al. 2021 (https://arxiv.org/abs/2005.00247) on the MLP's alone. Normalizations stay frozen.
    """

    layers: ClassVar[str] = "harness.methods.bottleneck_layers"

    peft: str = "BOTTLENECK"
    reduction_factor: Annotated[float, Field(ge=1)]
    """Width of the hidden states over width of the bottleneck, which is rounded down and at least 1."""
    nonlinearity: Literal["relu", "gelu", "silu", "tanh"]
    scale: Annotated[float, Field(gt=0)]

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("reduction_factor", "nonlinearity", "scale")}
        return super().fields(model, site) | own


class ParallelAdapter(Bottleneck):
    """`mlp(x) + scale * U f(D x + b) + c`: beside the MLP (He et al. 2022, https://arxiv.org/abs/2110.04366)."""

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        """The MLP is the module that holds both `up` and `down`. Raises UserError where there is none."""
        if not {"up", "down"} <= set(site.targets) <= {"gate", "up", "down"}:
            raise UserError(f"targets: {self.name} stands beside the MLP alone; leave targets out")
        up, down = (_holders(model, site.targets[role]) for role in ("up", "down"))
        # The name of a block ends in its number: in OPT the layers of the MLP lie in the block itself.
        mlps = sorted(name for name in up & down if not name.rpartition(".")[2].isdigit())
        if not mlps:
            kind = model.config.model_type
            raise UserError(f"method={self.name}: the MLP of {kind} is no module of its own; use method=houlsby")
        return super().fields(model, site) | {"target_modules": mlps, "parallel": True}


def _holders(model: Any, endings: list[str]) -> set[str]:
    """The names of the modules that hold the modules whose names have these endings."""
    ends = tuple(f".{ending}" for ending in endings)
    return {name.rpartition(".")[0] for name, _ in model.named_modules() if name.endswith(ends)}
