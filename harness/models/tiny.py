"""A two-layer random model with its own small tokenizer, built in the process: for tests, never a default."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field

from harness.errors import UserError, nearest
from harness.models import BaseModelSource, Classes, auto_class, label_options

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SCALED = {
    "intermediate_size",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "d_ff",
    "n_inner",
    "ffn_dim",
}
"""Sizes that are given in multiples of the hidden size."""
LLAMA = {"intermediate_size": 2, "num_key_value_heads": 2}
OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(["llama", "mistral", "qwen2"], LLAMA),
    **dict.fromkeys(["qwen3", "gemma", "gemma2", "gemma3_text"], LLAMA | {"head_dim": 16}),
    "gpt2": {"n_inner": 2, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
    "gpt_neox": {"intermediate_size": 2},
    "opt": {"ffn_dim": 2, "word_embed_proj_dim": 64, "dropout": 0.0},
    "bloom": {"hidden_dropout": 0.0},
    "phi": {"intermediate_size": 2},
    "phi3": LLAMA,
    "mixtral": LLAMA | {"num_local_experts": 4},
    "olmoe": LLAMA | {"num_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": LLAMA
    | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 2, "shared_expert_intermediate_size": 2},
    # Its first block is one without experts.
    "qwen3_moe": LLAMA
    | {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 2, "mlp_only_layers": [0]},
    "t5": {
        "d_ff": 2,
        "d_kv": 16,
        "num_decoder_layers": 2,
        "dropout_rate": 0.0,
        "decoder_start_token_id": 0,
        "feed_forward_proj": "gated-gelu",
    },
    "bert": {"intermediate_size": 2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "roberta": {"intermediate_size": 2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
}
"""By architecture: what its configuration calls otherwise, or has besides the common sizes."""


class TinyRandom(BaseModelSource):
    """Random weights drawn with `seed`; one token a character."""

    architecture: str = "llama"
    """transformers' model_type; one of those in `OWN`."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    hidden_size: Annotated[int, Field(ge=8, multiple_of=8)] = 64
    context: Annotated[int, Field(ge=1)] = 1024
    """Positions, in tokens."""

    def identity(self) -> dict[str, Any]:
        return {"tiny_random": self.model_dump(mode="json")}

    def describe(self) -> str:
        return f"random two-layer {self.architecture}, hidden size {self.hidden_size} (for tests)"

    def load(
        self, dtype: Any, device: str, quantization: Any, classes: Classes = None
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        import torch

        if quantization is not None:
            raise UserError("model=tiny_random is built, not loaded, and has no quantized form; use quantization=none")
        config, tokenizer = self.parts(classes)
        config._attn_implementation = self.attention_for(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model: Any = auto_class(config, classes).from_config(config)
        return model.to(device=device, dtype=dtype), tokenizer

    def outline(self, config: Any, dtype: Any, attention: str, classes: Classes = None) -> PreTrainedModel:
        model: Any = super().outline(config, None, attention, classes)
        return cast("PreTrainedModel", model.to(dtype=dtype))  # as `load` does, buffers too

    def parts(self, classes: Classes = None) -> tuple[Any, PreTrainedTokenizerBase]:
        from transformers import AutoConfig

        if self.architecture not in OWN:
            raise UserError(f"model.architecture={self.architecture}: {nearest(self.architecture, list(OWN))}")
        tokenizer = character_tokenizer()
        size = self.hidden_size
        config: Any = AutoConfig.for_model(
            self.architecture,
            **{
                "vocab_size": len(tokenizer),
                "hidden_size": size,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "max_position_embeddings": self.context,
                "pad_token_id": tokenizer.pad_token_id,
                "bos_token_id": None,
                "eos_token_id": tokenizer.eos_token_id,
                "tie_word_embeddings": True,
            },
            **{name: value * size if name in SCALED else value for name, value in OWN[self.architecture].items()},
            **label_options(classes),
        )
        # Large enough for what is read to change what is answered.
        for name in ("initializer_range", "init_std"):
            if hasattr(config, name):
                setattr(config, name, size**-0.5)
        return config, tokenizer


def character_tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer with one token for each printable character."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<pad>": 0, "<end>": 1, "<unknown>": 2}
    for character in string.printable + "£é":
        vocabulary[character] = len(vocabulary)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unknown>", model_max_length=1024
    )
