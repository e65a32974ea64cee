"""How the frozen base weights are stored."""

from __future__ import annotations

import sys
from typing import Any, Literal

from harness.errors import UserError
from harness.settings import Settings

DEFAULT_BLOCK = 64
"""bitsandbytes' own block size, and the only one that transformers can be asked for."""


class Quantization(Settings):
    """Storage of the frozen base weights, by bitsandbytes."""

    kind: Literal["none", "int8", "nf4", "fp4"]
    double: bool
    """The 4-bit constants are quantized too (QLoRA, section 3): 8 bits each, in blocks of 256 with an fp32 constant."""
    block_size: Literal[32, 64, 128, 256, 512, 1024, 2048, 4096] | None = None
    """Neighbouring weights of a row that share a constant; for the 4-bit kinds alone."""
    compute_dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """What 4-bit weights are multiplied in; auto: the run's dtype."""

    @property
    def four_bit(self) -> bool:
        """Two weights to a byte, in blocks."""
        return self.kind in ("nf4", "fp4")

    def label(self) -> str:
        """Short name, empty where nothing is quantized."""
        if self.kind == "none":
            return ""
        block = f" block={self.block_size}" if self.block_size not in (None, DEFAULT_BLOCK) else ""
        compute = f" compute={self.compute_dtype}" if self.compute_dtype != "auto" else ""
        return self.kind + ("_dq" if self.double else "") + block + compute

    def problems(self) -> list[str]:
        """Settings that this kind does not have, each with its reason."""
        if self.four_bit:
            return [] if self.block_size else [f"quantization.block_size: {self.kind} needs one; 64 is usual"]
        lines = []
        if self.double:
            why = "it has one constant a row, which is not quantized" if self.kind == "int8" else "nothing is quantized"
            lines.append(f"quantization.double=true: not with kind={self.kind}, since {why}; use false, or nf4_dq")
        if self.block_size or self.compute_dtype != "auto":
            lines.append(f"quantization: kind={self.kind} has no block_size or compute_dtype; leave them out")
        return lines

    def compute(self, dtype: Any) -> Any:
        """The torch dtype of the products in a run of the torch dtype `dtype`."""
        import torch

        named = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        return named.get(self.compute_dtype, dtype)

    def config(self, dtype: Any) -> Any:
        """transformers' quantization config in a run of the torch dtype `dtype`; None where nothing is quantized."""
        from transformers import BitsAndBytesConfig

        if self.kind == "none":
            return None
        if self.kind == "int8":
            options: dict[str, Any] = {"load_in_8bit": True}
        else:
            options = {
                "load_in_4bit": True,
                "bnb_4bit_quant_type": self.kind,
                "bnb_4bit_use_double_quant": self.double,
                "bnb_4bit_compute_dtype": self.compute(dtype),
            }
        return BitsAndBytesConfig(**options)  # type: ignore[no-untyped-call]


def load_quantized(quantization: Quantization, dtype: Any, load: Any) -> Any:
    """What `load(transformers' config or None)` gives, a model and its tokenizer, with the weights stored as told.

    Raises UserError where the block size does not divide a layer's inputs.
    """
    if not quantization.four_bit or quantization.block_size == DEFAULT_BLOCK:
        model, tokenizer = load(quantization.config(dtype))
        check_blocks(model, quantization)
        keep_as_stored(model)
        return model, tokenizer
    model, tokenizer = load(None)
    return quantize(model, quantization, dtype), tokenizer


def quantize(model: Any, quantization: Quantization, dtype: Any) -> Any:
    """A plain model with its linear layers stored in 4 bits, in place: the layers that transformers would choose.

    transformers passes no block size on to bitsandbytes, and quantizes only while it loads.
    """
    from bitsandbytes.nn.modules import Params4bit
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear
    from transformers.quantizers.base import get_keys_to_not_convert

    weights, layers = quantizable_layers(model), dict(model.named_modules())
    skipped = get_keys_to_not_convert(model)
    replace_with_bnb_linear(model, skipped, quantization.config(dtype))
    check_blocks(model, quantization)
    for name, layer in quantized_layers(model).items():
        stored: Any = Params4bit(
            weights[name].contiguous(),
            blocksize=quantization.block_size,
            compress_statistics=quantization.double,
            quant_type=quantization.kind,
            module=layer,
        )
        layer.weight = stored.to(weights[name].device)
        layer.bias = layers[name].bias
    model.is_loaded_in_4bit = True  # PEFT asks for it
    keep_as_stored(model)
    return model


def keep_as_stored(model: Any) -> None:
    """Let 4-bit layers answer with the weights that they train with. On a CPU with bf16 products bitsandbytes would
    repack them when they are first used for inference, and round their constants to bf16 for good."""
    for layer in quantized_layers(model).values():
        layer.support_avx512bf16_for_cpu = False


def dequantize(model: Any, quantization: Quantization, dtype: Any) -> Any:
    """A quantized model with plain linear layers that hold the same values in the torch dtype `dtype`, in place."""
    from transformers.integrations.bitsandbytes import dequantize_and_replace

    dequantize_and_replace(model, quantization.config(dtype), dtype)  # type: ignore[no-untyped-call]
    model.is_loaded_in_4bit = model.is_loaded_in_8bit = False
    return model


def check_blocks(model: Any, quantization: Quantization) -> None:
    """Raise UserError where a block would reach into the next row, which bitsandbytes cannot multiply on a CPU."""
    if not quantization.four_bit:
        return
    sizes = {layer.in_features: name for name, layer in quantized_layers(model).items()}
    wrong = [size for size in sizes if size % quantization.block_size]
    if wrong:
        fit = [str(2**p) for p in range(5, 13) if all(size % 2**p == 0 for size in sizes)]
        advice = f"use one of {', '.join(fit)}" if fit else "use quantization=int8"
        raise UserError(
            f"quantization.block_size={quantization.block_size}: does not divide the {wrong[0]} inputs of "
            f"{sizes[wrong[0]]}; {advice}"
        )


def quantizable_layers(model: Any) -> dict[str, Any]:
    """The weights [out, in] of a plain model's layers that transformers would quantize, by the layer's name."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import get_keys_to_not_convert
    from transformers.quantizers.quantizers_utils import should_convert_module

    skipped = get_keys_to_not_convert(model)
    return {
        name: layer.weight.data.T if isinstance(layer, Conv1D) else layer.weight.data
        for name, layer in model.named_modules()
        if type(layer) in (nn.Linear, Conv1D) and should_convert_module(name, skipped)
    }


def quantized_layers(model: Any) -> dict[str, Any]:
    """The layers of a model whose weights bitsandbytes stores, by name."""
    if "bitsandbytes" not in sys.modules:  # its import alone would start CUDA, which a process that forks must not
        return {}
    from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt

    return {name: layer for name, layer in model.named_modules() if isinstance(layer, (Linear4bit, Linear8bitLt))}


def plain_weight(layer: Any) -> Any:
    """The weight [out, in] that a layer of bitsandbytes stands for."""
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight

    return dequantize_bnb_weight(layer.weight, getattr(layer, "state", None))


def constants(layer: Any) -> list[Any]:
    """The tensors by which a layer's stored weights are scaled; those of double quantization included."""
    if (rows := getattr(layer.weight, "SCB", None)) is not None:
        return [rows]
    state = layer.weight.quant_state
    return [state.absmax, state.state2.absmax, state.offset] if state.nested else [state.absmax]


def weight_bytes(model: Any) -> int:
    """Bytes of a model's weights as they are stored, with the constants of quantized ones. Ask before the first forward
    pass: on some CPUs bitsandbytes then arranges 4-bit weights anew."""
    stored = [*model.parameters(), *(c for layer in quantized_layers(model).values() for c in constants(layer))]
    return sum(tensor.numel() * tensor.element_size() for tensor in stored)
