"""Optimizers, and the parameters that are theirs."""

from __future__ import annotations

from typing import Any

import torch


def trainable(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that training may change, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def make_optimizer(name: str, groups: list[dict[str, Any]], weight_decay: float) -> Any:
    """AdamW of torch, or those of bitsandbytes: 8-bit state (fp32 below 4,096 elements), and paged, so that a GPU whose
    memory is full moves it to the host."""
    if name == "adamw":
        return torch.optim.AdamW(groups, weight_decay=weight_decay, fused=True)
    import bitsandbytes as bnb

    kinds = {"paged_adamw": "PagedAdamW", "adamw8bit": "AdamW8bit", "paged_adamw8bit": "PagedAdamW8bit"}
    return getattr(bnb.optim, kinds[name])(groups, weight_decay=weight_decay)
