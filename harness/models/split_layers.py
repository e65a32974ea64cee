"""Layers rebuilt so that a method can adapt them, and put back: parts of one matrix, Conv1D, tied embeddings."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from peft.tuners.trainable_tokens import TrainableTokensLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from harness.errors import UserError


class SplitProjection(nn.Module):
    """A fused projection as a layer for each part, such as `q`, `k`, `v`: the same output [..., sum of the parts'
    widths], in the same order."""

    def __init__(self, fused: nn.Module, shares: dict[str, int], heads: int | None) -> None:
        """`shares`: the parts in order, with widths in proportion; `heads`: the fused rows go head by head (each part
        of the first one, then of the next), all parts equally wide; None: all of a part, then all of the next."""
        super().__init__()
        self.names, self.heads = list(shares), heads
        self.conv1d = isinstance(fused, Conv1D)
        weight, bias = _rows(fused)
        unit = len(weight) // sum(shares.values())
        widths = [share * unit for share in shares.values()]
        weights = _apart(weight, widths, heads)
        biases = [None] * len(widths) if bias is None else _apart(bias, widths, heads)
        for name, w, b in zip(shares, weights, biases, strict=True):
            self.add_module(name, _linear(w, b, weight.requires_grad))

    @property
    def parts(self) -> list[Any]:
        """The layers in order, adapted or not."""
        return [self.get_submodule(name) for name in self.names]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., sum of the parts' widths]."""
        parts = [layer(x) for layer in self.parts]
        if self.heads is None:
            return torch.cat(parts, dim=-1)
        return torch.stack([part.unflatten(-1, (self.heads, -1)) for part in parts], dim=-2).flatten(-3)

    def joined(self) -> nn.Module:
        """The fused projection again."""
        layers = self.parts
        weight = _together([layer.weight.data for layer in layers], self.heads)
        bias = None if layers[0].bias is None else _together([layer.bias.data for layer in layers], self.heads)
        fused = _linear(weight, bias, layers[0].weight.requires_grad)
        return to_conv1d(fused) if self.conv1d else fused


def split(model: nn.Module, ending: str, shares: dict[str, int], heads: int | None) -> None:
    """Replace every fused projection of `model` whose name ends so, in place: see `SplitProjection`. Raises UserError
    for a quantized one."""
    for name, module in list(model.named_modules()):
        if f".{name}".endswith(f".{ending}") and not isinstance(module, SplitProjection):
            if type(module) not in (nn.Linear, Conv1D):
                *most, last = shares
                raise UserError(
                    f"targets: {ending} holds {', '.join(most)} and {last} in one quantized matrix, which cannot be "
                    f"taken apart; use quantization=none, or adapt it whole: targets.modules=[{ending}]"
                )
            model.set_submodule(name, SplitProjection(module, shares, heads))


def to_linear(layer: Any) -> nn.Linear:
    """GPT-2's `Conv1D`, which many methods refuse, as a Linear that remembers what it was."""
    weight, bias = _rows(layer)
    linear: Any = _linear(weight, bias, weight.requires_grad)
    linear.was_conv1d = True
    return linear  # type: ignore[no-any-return]


def to_conv1d(linear: nn.Linear) -> nn.Module:
    """The Conv1D that computes the same."""
    with torch.device("meta"):
        layer: Any = Conv1D(linear.out_features, linear.in_features)  # type: ignore[no-untyped-call]
    trained = linear.weight.requires_grad
    layer.weight = nn.Parameter(linear.weight.data.T.contiguous(), trained)
    layer.bias = nn.Parameter(linear.bias.data, trained)
    return layer  # type: ignore[no-any-return]


def restore(model: Any) -> Any:
    """`model` without adapters, its layers those of its architecture again, so that it can be saved as one."""
    for name, module in list(model.named_modules()):
        if isinstance(module, SplitProjection):
            model.set_submodule(name, module.joined())
        elif getattr(module, "was_conv1d", False):
            model.set_submodule(name, to_conv1d(module))
    return model


def untie(model: Any, endings: list[str] | None = None) -> None:
    """Give each adapted layer, or each whose name ends so, that shares its weight with another, as an output head with
    the embeddings, a copy of its own: written into the shared weight, the adapter's change would be the other's too.
    PEFT's trainable tokens stay tied, since they replace the same rows in all layers of a weight."""
    owners = Counter(id(module._parameters.get("weight")) for module in model.modules())
    for name, module in model.named_modules():
        if endings is None:
            chosen = isinstance(module, BaseTunerLayer) and not isinstance(module, TrainableTokensLayer)
            layer = module.get_base_layer() if chosen else None
        else:
            layer = module if any(f".{name}".endswith(f".{ending}") for ending in endings) else None
        weight = getattr(layer, "_parameters", {}).get("weight")
        if layer is not None and weight is not None and owners[id(weight)] > 1:
            owners[id(weight)] -= 1
            layer.weight = nn.Parameter(weight.detach().clone(), weight.requires_grad)
            model.config.tie_word_embeddings = False


def _rows(layer: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight [out, in] and bias [out] of a Linear or Conv1D."""
    return (layer.weight.T if isinstance(layer, Conv1D) else layer.weight), layer.bias


def _apart(rows: torch.Tensor, widths: list[int], heads: int | None) -> list[torch.Tensor]:
    """The rows of each part, so many each."""
    if heads is None:
        return list(torch.split(rows, widths))
    parts = rows.reshape(heads, len(widths), -1, *rows.shape[1:])
    return [parts[:, i].flatten(0, 1) for i in range(len(widths))]


def _together(parts: list[torch.Tensor], heads: int | None) -> torch.Tensor:
    """What `_apart` took apart."""
    if heads is None:
        return torch.cat(parts)
    return torch.stack([part.reshape(heads, -1, *part.shape[1:]) for part in parts], dim=1).flatten(0, 2)


def _linear(weight: torch.Tensor, bias: torch.Tensor | None, trained: bool) -> nn.Linear:
    """A Linear with a copy of this weight [out, in] and bias [out]. Draws nothing from torch's generator."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")

    def copied(values: torch.Tensor) -> nn.Parameter:
        return nn.Parameter(values.detach().clone(memory_format=torch.contiguous_format), trained)

    layer.weight = copied(weight)
    if bias is not None:
        layer.bias = copied(bias)
    return layer
