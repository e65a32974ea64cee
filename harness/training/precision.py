"""The precision of what is trained, and of what is deployed."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from harness.errors import UserError
from harness.training.optimizer import trainable


def to_master_precision(model: torch.nn.Module) -> None:
    """Trainable parameters become fp32: a bf16 weight does not move at small learning rates."""
    from peft.utils.other import ModulesToSaveWrapper

    for parameter in trainable(model).values():
        parameter.data = parameter.data.float()
    for module in model.modules():
        # PEFT's layers take inputs of another precision than their weights'; a head that it trains whole does not.
        if isinstance(module, ModulesToSaveWrapper):
            module.register_forward_pre_hook(lambda _, args: tuple(each.float() for each in args))


def to_deployed_precision(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Weights of the base that were trained in fp32 go back to the run's dtype: scored as they would be deployed."""
    for parameter in model.parameters():
        if parameter.dtype == torch.float32:
            parameter.data = parameter.data.to(dtype)


def enable_checkpointing(model: Any) -> None:
    """Keep of each block only its input, and compute it again in the backward pass. Raises UserError."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not base.supports_gradient_checkpointing:
        raise UserError(f"train.gradient_checkpointing: {base.config.model_type} does not support it; use false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # a newer name, which the earliest supported version has not
        base.gradient_checkpointing_enable({"use_reentrant": False})
