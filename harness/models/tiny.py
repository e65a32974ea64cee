"""A two-layer random Llama with its own small tokenizer, built in the process: for tests, never a default."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.models import BaseModelSource

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TinyRandom(BaseModelSource):
    """Random weights drawn with `seed`; one token a character."""

    seed: int = 0
    hidden_size: int = 64
    context: int = 1024
    """Positions, in tokens."""

    def identity(self) -> dict[str, Any]:
        return {"tiny_random": self.model_dump(mode="json")}

    def describe(self) -> str:
        return f"random two-layer Llama, hidden size {self.hidden_size} (for tests)"

    def load(self, dtype: Any, device: str, quantization: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        if quantization is not None:
            raise UserError("model=tiny_random is built, not loaded, and has no quantized form; use quantization=none")
        tokenizer = character_tokenizer()
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            intermediate_size=2 * self.hidden_size,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=self.context,
            initializer_range=self.hidden_size**-0.5,  # large enough for what is read to change what is answered
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            tie_word_embeddings=True,
            attn_implementation=self.attention_for(device),  # type: ignore[call-arg]  # read by the base class
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model: Any = LlamaForCausalLM(config)
        return model.to(device=device, dtype=dtype), tokenizer


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
