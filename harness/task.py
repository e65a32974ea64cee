"""What a run works on: the base model, and the texts that it is trained on, validated on and scored."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from harness import data, targets
from harness.data import Example
from harness.data.batching import Batch, Encoded, Encoder, collate, training_batches
from harness.environment import resolve_device
from harness.errors import UserError
from harness.methods import Site

if TYPE_CHECKING:
    from harness.config import RunSettings

Base = tuple[Any, Any]
"""A model and its tokenizer."""

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def load_base(settings: RunSettings) -> Base:
    """The base model on the run's device, and its tokenizer."""
    dtype = DTYPES[settings.precision]
    device = resolve_device(settings.device)
    return settings.model.load(dtype, device, settings.quantization.config(dtype))


def pick(examples: Sequence[Example], count: int | None) -> list[Example]:
    """`count` examples, the same for every run and seed, in the order of the file; all for None."""
    if count is None or count >= len(examples):
        return list(examples)
    chosen = sorted(random.Random("examples").sample(range(len(examples)), count))
    return [examples[i] for i in chosen]


class Task:
    """The texts of a run: what is trained on, validated on and scored, ready for one tokenizer."""

    def __init__(self, settings: RunSettings, base: Base, shots: int | None = None) -> None:
        """`shots`: solved examples in front of each test input; None: as the method says."""
        model, tokenizer = base
        self.settings, self.model, self.tokenizer = settings, model, tokenizer
        splits, _ = data.load(settings.data)
        device = self.device = model.get_input_embeddings().weight.device
        context = getattr(model.config, "max_position_embeddings", None) or 10**9
        self.encoder = Encoder(tokenizer, settings.data, settings.train.max_length, context)
        self.pad = int(tokenizer.pad_token_id)
        self.train = splits.train
        self.test = pick(splits.test, settings.eval.test_examples)
        chosen = pick(splits.validation, settings.train.validation_examples)
        if not self.test or not chosen:
            raise UserError("the test or the validation split is empty; check the data")
        self.prompts = [self.encoder.prompt(example, settings.eval.max_new_tokens) for example in self.test]
        size = settings.train.batch_size
        encoded = sorted((self.encoder.pair(e, e.references[0]) for e in chosen), key=lambda e: len(e.ids))
        self.validation: list[Batch] = [
            collate(encoded[i : i + size], self.pad).to(device) for i in range(0, len(encoded), size)
        ]

    def site(self) -> Site:
        """Where a method is applied."""

        def inputs() -> Iterator[dict[str, torch.Tensor]]:
            size, seed = self.settings.train.batch_size, self.settings.seed
            for examples in self.batches(size, seed):
                yield collate(examples, self.pad).to(self.device).inputs()

        roles = targets.resolve(self.model, self.settings.roles)
        return Site(self.tokenizer, roles, "causal", self.settings.train.steps, inputs)

    def batches(self, size: int, seed: int) -> Iterator[list[Encoded]]:
        """Endless training batches."""
        return training_batches(self.train, self.encoder, size, seed)
