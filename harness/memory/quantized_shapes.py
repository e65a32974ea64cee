"""Quantized layers of shapes alone: what bitsandbytes' own hold and do, without weights to quantize."""

from __future__ import annotations

from typing import Any

import bitsandbytes as bnb
import torch
from bitsandbytes import functional
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from torch import nn

from harness.models.quantization import Quantization, check_blocks, quantizable_layers


class Shapes4bit(Linear4bit):
    """A 4-bit layer. Its own class cannot be built: its weight is a tensor of a kind that has content."""

    def __init__(self, weight: torch.Tensor, bias: Any, quantization: Quantization, dtype: torch.dtype) -> None:
        """`weight`: [out, in], as it was before."""
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        packed, state = functional.quantize_4bit(
            weight,
            blocksize=quantization.block_size,
            compress_statistics=quantization.double,
            quant_type=quantization.kind,
        )
        stored: Any = nn.Parameter(packed, requires_grad=False)
        stored.quant_state, stored.quant_type = state, quantization.kind
        stored.compress_statistics = quantization.double
        self.weight, self.bias = stored, bias
        self.quant_state, self.quant_storage = state, torch.uint8
        self.compute_dtype, self.compute_type_is_set = quantization.compute(dtype), True
        self.support_avx512bf16_for_cpu = False

    def _save_to_state_dict(self, *args: Any) -> None:
        nn.Module._save_to_state_dict(self, *args)  # the constants' values would be written too


class Shapes8bit(Linear8bitLt):
    """An int8 layer. Which inputs are outliers depends on their values: here none are."""

    def __init__(self, weight: torch.Tensor, bias: Any) -> None:
        """`weight`: [out, in], as it was before."""
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        stored: Any = nn.Parameter(torch.empty(weight.shape, dtype=torch.int8), requires_grad=False)
        stored.CB, stored.has_fp16_weights = None, False
        stored.SCB = torch.empty(self.out_features, dtype=torch.float32)
        self.weight, self.bias, self.index = stored, bias, None
        self.state = bnb.MatmulLtState()  # type: ignore[attr-defined]
        self.state.threshold, self.state.has_fp16_weights = 0.0, False
        self.state.CB, self.state.SCB = stored.data, stored.SCB

    def _save_to_state_dict(self, *args: Any) -> None:
        nn.Module._save_to_state_dict(self, *args)  # the constants' values would be written too


def quantize_shapes(model: Any, quantization: Quantization, dtype: torch.dtype) -> Any:
    """A model of shapes with the layers that transformers would quantize stored as told, in place."""
    layers = dict(model.named_modules())
    for name, weight in quantizable_layers(model).items():
        bias = layers[name].bias
        if quantization.four_bit:
            model.set_submodule(name, Shapes4bit(weight.contiguous(), bias, quantization, dtype))
        else:
            model.set_submodule(name, Shapes8bit(weight, bias))
    check_blocks(model, quantization)
    model.is_loaded_in_4bit, model.is_loaded_in_8bit = quantization.four_bit, not quantization.four_bit
    return model
