"""What PEFT has that no file in conf/method/ offers, and why."""

from __future__ import annotations

PEFT_TYPES = {
    "XLORA": "mixes LoRA adapters that were trained before, one for each domain; a run starts from none",
    "POLY": "needs the task of each text in its forward pass, and shares its parts between tasks; a run has one task",
    "LN_TUNING": "method=layer_norms trains the same parameters, in place",
    "CARTRIDGE": "distils a long document into a cache of keys and values; a run learns from pairs of texts",
}
"""By the name in PEFT's `PeftType`."""

LORA_VARIANTS = {
    "aLoRA": "acts from an invocation sequence on that every prompt must hold; the prompts of a run have none",
    "Arrow": "routes between LoRA adapters that were trained before; a run starts from none",
    "QA-LoRA": "PEFT has it for GPTQ weights alone",
    "MonteCLoRA": "its penalty needs the graph of the last forward pass, which is freed after each part of a batch",
}
"""Variants of LoRA by a field of PEFT's `LoraConfig`."""
