"""LoRA's product added in place, for training: PEFT passes five times over each layer's output."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from peft.tuners.lora.layer import LoraVariant


class AddProduct(torch.autograd.Function):
    """`result += scale * x A^T B^T`, with matrix products in the order that a BLAS does fastest for a small rank.

    `a` and `b` may be fp32 beside a `result` and `x` in bf16: they are rounded to it for the products, as torch's
    autocast does, and their gradients are fp32.
    """

    @staticmethod
    def forward(
        ctx: Any, result: torch.Tensor, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """`result` [..., out] or [rows, out] is written to; `x` [..., in], `a` [rank, in], `b` [out, rank]."""
        rows = x.flatten(0, -2)
        inner = a.to(x.dtype) @ rows.t()
        result.view(-1, b.shape[0]).addmm_(inner.t(), b.to(x.dtype).t(), alpha=scale)
        ctx.mark_dirty(result)
        ctx.save_for_backward(rows, inner, a, b)
        ctx.scale, ctx.shape = scale, x.shape
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of result, x, a and b."""
        rows, inner, a, b = ctx.saved_tensors
        outer = grad.reshape(-1, b.shape[0])
        back = (ctx.scale * b.t()).to(grad.dtype).contiguous() @ outer.t()
        _, wants_x, wants_a, wants_b, _ = ctx.needs_input_grad
        of_x = (back.t() @ a.to(grad.dtype)).view(ctx.shape) if wants_x else None
        of_a = (back @ rows).to(a.dtype) if wants_a else None
        of_b = ctx.scale * (inner @ outer).t().to(b.dtype) if wants_b else None
        return grad, of_x, of_a, of_b, None


class Adding(LoraVariant):
    """A variant that adds to the base's weight, and nothing else: folded in by adding `delta`."""

    @classmethod
    def delta(cls, module: Any, adapter: str) -> torch.Tensor:
        """What the adapter adds to the weight, in its layout."""
        product: torch.Tensor = module.get_delta_weight(adapter)
        return product

    @classmethod
    def merge_safe(cls, module: Any, active_adapter: str, orig_weight: torch.Tensor) -> torch.Tensor:
        """The weight with the adapter, as a new tensor."""
        return orig_weight + cls.delta(module, active_adapter).to(orig_weight.dtype)

    @classmethod
    def merge_unsafe(cls, module: Any, active_adapter: str, orig_weight: torch.Tensor) -> None:
        """As `merge_safe`, in place."""
        orig_weight.data += cls.delta(module, active_adapter).to(orig_weight.dtype)

    @classmethod
    def unmerge(cls, module: Any, active_adapter: str, orig_weight: torch.Tensor) -> torch.Tensor:
        """The weight without the adapter."""
        return orig_weight - cls.delta(module, active_adapter).to(orig_weight.dtype)


class InPlace(Adding):
    """Plain LoRA that trains through `AddProduct`; without gradients it is PEFT's own, to the bit."""

    @staticmethod
    def forward(module: Any, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **_: Any) -> torch.Tensor:
        """The layer's output with the product added."""
        a, b = module.lora_A[active_adapter], module.lora_B[active_adapter]
        scale = module.scaling[active_adapter]
        if torch.is_grad_enabled() and x.dtype == result.dtype and not torch.is_autocast_enabled(x.device.type):
            # A layer with a bias gives a view of a matrix; to write to a view would copy the gradient.
            whole = result if result._base is None else result._base
            added: torch.Tensor = AddProduct.apply(whole, x, a.weight, b.weight, scale)  # type: ignore[no-untyped-call]
            return added.view(result.shape)
        plain: torch.Tensor = result + b(a(x.to(a.weight.dtype))) * scale
        return plain


def add_in_place(model: Any) -> None:
    """Let the plain LoRA layers of a PEFT model, without dropout and bias, train through `AddProduct`."""
    for module in model.modules():
        if type(module) is not Linear or type(module.base_layer) is not torch.nn.Linear:
            continue
        for name, dropout in module.lora_dropout.items():
            factors = (module.lora_A[name], module.lora_B[name])
            plain = all(type(factor) is torch.nn.Linear and factor.bias is None for factor in factors)
            if plain and isinstance(dropout, torch.nn.Identity) and name not in module.lora_variant:
                module.lora_variant[name] = InPlace()
                module.cast_input_dtype_enabled = False  # an input of fp32 would be a copy that nothing needs
