"""A model of a few blocks whose layers are told apart by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness.models.tiny import TinyRandom

BLOCK = ["q", "k", "v", "o", "gate", "up", "down"]
HIDDEN = 64


def base(architecture: str, classes: tuple[str, ...] | None = None) -> Any:
    return TinyRandom(name="tiny", architecture=architecture).load(torch.float32, "cpu", None, classes)[0].eval()


def named(model: nn.Module, endings: list[str]) -> list[str]:
    """The modules whose names end so, as PEFT matches them."""
    return [name for name, _ in model.named_modules() if any(f".{name}".endswith(f".{e}") for e in endings)]


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(3, 27).reshape(2, 12)
    given = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), **given).logits
    return found
