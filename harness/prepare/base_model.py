"""The base model: loaded, its kind, and the length of its context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from harness.host.environment import resolve_device
from harness.methods import Kind
from harness.models.quantization import load_quantized
from harness.prepare.decoding import settle
from harness.prepare.forward import states_together

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings


class LoadedModel(NamedTuple):
    """A model, as a rule a base to which no method is applied yet, and its tokenizer."""

    model: Any
    tokenizer: Any


DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def load_base(settings: RunSettings) -> LoadedModel:
    """The base model on the run's device, and its tokenizer."""
    dtype = DTYPES[settings.precision]
    device = resolve_device(settings.device)
    # A new classification head is part of the base, which all seeds share.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, tokenizer = load_quantized(
            settings.quantization,
            dtype,
            lambda quantized: settings.model.load(dtype, device, quantized, settings.data.head_classes),
        )
    states_together(model)
    settle(model, tokenizer)
    return LoadedModel(model, tokenizer)


def kind_of(settings: RunSettings, model: Any) -> Kind:
    """What kind of model this is, for these data."""
    if settings.data.head_classes is not None:
        return "classification"
    return "seq2seq" if model.config.is_encoder_decoder else "causal"


def context_of(config: Any) -> int:
    """Tokens that a model can read at once; a large number where its positions are relative."""
    positions: int = getattr(config, "max_position_embeddings", None) or 10**9
    # RoBERTa counts positions from behind the padding's own.
    return positions - config.pad_token_id - 1 if config.model_type == "roberta" else positions
