"""Variants of LoRA that differ in what is trained, or how, rather than in PEFT's configuration alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.methods import Site
from harness.methods.lora import Lora

if TYPE_CHECKING:
    import torch


class LoraPlus(Lora):
    """LoRA+ (Hayou et al. 2024, https://arxiv.org/abs/2402.12354): B learns `ratio` times as fast as A."""

    ratio: Annotated[float, Field(ge=1)]
    """Learning rate of B over that of A, which is `lr`; the paper's lambda."""

    def parameter_groups(self, model: Any) -> list[dict[str, Any]]:
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        slow = [p for name, p in trained if ".lora_B." not in name]
        fast = [p for name, p in trained if ".lora_B." in name]
        return [{"params": slow, "lr": self.lr}, {"params": fast, "lr": self.lr * self.ratio}]


class LoraFa(Lora):
    """LoRA-FA (Zhang et al. 2023, https://arxiv.org/abs/2308.03303): A stays as it was drawn, B is trained."""

    def apply(self, model: Any, site: Site) -> Any:
        adapted = super().apply(model, site)
        for name, parameter in adapted.named_parameters():
            if ".lora_A." in name:
                parameter.requires_grad_(False)
        return adapted


class BlockDiagonalLora(Lora):
    """BD-LoRA (Wang et al. 2025, https://arxiv.org/abs/2510.23346): B is block-diagonal where a layer reads the hidden
    states, A where it writes them, so that the model can be served in `blocks` parts without exchange between them."""

    blocks: Annotated[int, Field(ge=1)]

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        def names(roles: str) -> list[str]:
            return [name for role in roles.split() for name in site.targets.get(role, [])]

        diagonal = {
            "target_modules_bd_a": names("o down"),
            "target_modules_bd_b": names("q k v gate up"),
            "nblocks": self.blocks,
        }
        return super().fields(model, site) | {"use_bdlora": diagonal}


class Kasa(Lora):
    """KaSA (Wang et al. 2024, https://arxiv.org/abs/2412.06071): `h = W_r x + alpha/rank * B diag(s) A x`, W_r being W
    without its `rank` smallest singular components."""

    beta: Annotated[float, Field(ge=0)]
    """Weight of the penalty on s, their equation 10."""
    gamma: Annotated[float, Field(ge=0)]
    """Weight of the penalty that keeps A and B orthonormal, their equation 11."""

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        return super().fields(model, site) | {"kasa_config": {"beta": self.beta, "gamma": self.gamma}}

    def penalty(self, model: Any) -> torch.Tensor:
        """`beta * |s|^2 + gamma * (|B^T B - I| + |A A^T - I|)`, summed over the layers."""
        total: torch.Tensor = model.base_model._get_kasa_loss()
        return total


class VeLora(Lora):
    """VeLoRA (Miles et al. 2024, https://arxiv.org/abs/2405.17991): A's gradient comes from inputs that are kept as one
    number for each group of units, their projection on a vector that follows the batches."""

    groups: Annotated[int, Field(ge=1)]
    """Groups that a layer's inputs are cut into; must divide their width."""

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        return super().fields(model, site) | {"velora_config": {"num_groups": self.groups}}

    def state(self, model: Any) -> dict[str, torch.Tensor]:
        return {name: buffer for name, buffer in model.named_buffers() if "velora" in name}
