"""Tiny random Llamas in folders, with tokenizers as real models have them: BOS, chat templates, end tokens, spaces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = "The pub by the river serves cheap food. Restaurant: name[Aromi], eatType[pub] Description: family friendly"
TURNS = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] | trim }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
"""A chat template that writes BOS itself and ends each turn with a token of its own."""
MARKS = ["<|user|>", "<|assistant|>", "<|end|>"]


def byte_tokenizer(
    bos: str | None = None, eos: str | None = "</s>", marks: tuple[str, ...] = (), template: str | None = None
) -> PreTrainedTokenizerFast:
    """Bytes, merged as in GPT-2; puts `bos` in front of each text. `marks`: further special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    named = {"bos_token": bos, "eos_token": eos}
    special = [token for token in (eos, bos, *marks) if token]
    tokenizer.train_from_iterator(
        [WORDS] * 4,
        trainers.BpeTrainer(
            vocab_size=420,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if bos:
        pairs = [(bos, tokenizer.token_to_id(bos))]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=pairs)
    return _fast(tokenizer, {name: token for name, token in named.items() if token}, template)


def space_tokenizer() -> PreTrainedTokenizerFast:
    """As Llama 2's: a space is a letter of its own, put in front of every text, so that a text in the middle of another
    has other tokens than by itself."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    tokenizer.train_from_iterator(
        WORDS.split() * 4,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["<unk>", "<s>", "</s>"],
            initial_alphabet=[chr(i) for i in range(33, 127)] + ["\n"],
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _fast(tokenizer, {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}, None)


def chat_tokenizer(template: str = TURNS, **given: Any) -> PreTrainedTokenizerFast:
    """A byte tokenizer with BOS, whose chat template ends turns with `<|end|>`."""
    return byte_tokenizer("<s>", marks=tuple(MARKS), template=template, **given)


def saved(
    folder: Path, tokenizer: Any, generation: dict[str, Any] | None = None, rows: int | None = None, **config: Any
) -> Path:
    """A model for this tokenizer in `folder`. `generation`: more of its generation settings; `rows`: of its
    embeddings."""
    shape = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128}
    tokens = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    given: dict[str, Any] = {"vocab_size": rows or len(tokenizer), "hidden_size": 64, "initializer_range": 0.125}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**given, **shape, **tokens | config))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if generation:
        path = folder / "generation_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | generation))
    return folder


def _fast(tokenizer: Tokenizer, named: dict[str, str], template: str | None) -> PreTrainedTokenizerFast:
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)  # type: ignore[no-untyped-call]
    made.chat_template = template
    return made
