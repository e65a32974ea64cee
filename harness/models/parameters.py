"""Counts of parameters."""

from __future__ import annotations

from typing import Any

import torch


def count(parameter: torch.nn.Parameter) -> int:
    """Elements of a parameter as the model means them: 4-bit weights are stored two to a byte."""
    state = getattr(parameter, "quant_state", None)
    return int(torch.Size(state.shape).numel()) if state is not None else parameter.numel()


def total(model: Any) -> int:
    """All parameters, shared ones once."""
    return sum(count(p) for p in model.parameters())


def trainable(model: Any) -> int:
    """Parameters that training may change."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
