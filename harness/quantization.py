"""How the frozen base weights are stored."""

from __future__ import annotations

from typing import Any, Literal

from harness.settings import Settings


class Quantization(Settings):
    """Storage of the frozen base weights, by bitsandbytes."""

    kind: Literal["none", "int8", "nf4", "fp4"]
    double: bool
    """The 4-bit constants are quantized too."""

    def label(self) -> str:
        """Short name, empty where nothing is quantized."""
        return "" if self.kind == "none" else self.kind + ("_dq" if self.double else "")

    def config(self, dtype: Any) -> Any:
        """transformers' quantization config, computing in the torch dtype `dtype`; None where nothing is quantized."""
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
                "bnb_4bit_compute_dtype": dtype,
            }
        return BitsAndBytesConfig(**options)  # type: ignore[no-untyped-call]
