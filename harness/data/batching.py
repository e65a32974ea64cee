"""Texts to batches of token ids: what is trained on, in which order, with how much padding."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harness.data import Example, Source
from harness.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BUCKET = 32
"""Batches drawn together and sorted by length: enough to save padding, few enough to keep the order random."""

PASS_COST = {"cpu": 48}
"""By device: tokens that take as long as what every forward and backward pass costs, whatever its size. On a GPU a pass
of few tokens takes as long as one of many."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of a prompt and its completion; `scored_from` is the first position that counts in the loss."""

    ids: tuple[int, ...]
    scored_from: int


@dataclass(frozen=True)
class Batch:
    """Right-padded examples. Masks come from lengths: pad and end may be the same token."""

    ids: torch.Tensor
    """[batch, length] token ids."""
    mask: torch.Tensor
    """[batch, length] 1 where there is text."""
    predict: torch.Tensor
    """[batch, length] True at positions whose next token counts in the loss."""
    targets: torch.Tensor
    """[labels] those next tokens, row by row."""

    @property
    def tokens(self) -> int:
        """Tokens of text, padding not counted."""
        return int(self.mask.sum())

    def inputs(self) -> dict[str, torch.Tensor]:
        """Keyword arguments of a model's own `forward`: labels are -100 where nothing is scored."""
        labels = torch.full_like(self.ids, -100)
        labels[:, 1:][self.predict[:, :-1]] = self.targets
        return {"input_ids": self.ids, "attention_mask": self.mask, "labels": labels}

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        return Batch(*(tensor.to(device) for tensor in (self.ids, self.mask, self.predict, self.targets)))


class Encoder:
    """Turns examples of a task into token ids. Raises UserError where a text is longer than it may be."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, source: Source, max_length: int, context: int) -> None:
        self.tokenizer = tokenizer
        self.source = source
        self.max_length = max_length
        self.context = context

    def prompt(self, example: Example, room: int) -> list[int]:
        """The prompt's ids, with room for `room` more tokens in the model's context."""
        ids: list[int] = self.tokenizer(self.source.render(example), add_special_tokens=False)["input_ids"]
        if len(ids) + room > self.context:
            raise UserError(
                f"a prompt of {len(ids)} tokens with room for {room} more does not fit the model's context of "
                f"{self.context} tokens: {example.source[:60]}…; shorten it, or lower eval.max_new_tokens"
            )
        return ids

    def pair(self, example: Example, reference: str) -> Encoded:
        """Prompt, completion and end token."""
        prompt = self.prompt(example, 1)
        completion: list[int] = self.tokenizer(" " + reference, add_special_tokens=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        ids = (*prompt, *completion, end)
        limit = min(self.max_length, self.context)
        if len(ids) > limit:
            raise UserError(
                f"an example of {len(ids)} tokens is longer than {limit}: {example.source[:60]}…; raise "
                f"train.max_length (the model's context is {self.context}) or remove the example"
            )
        return Encoded(ids, len(prompt))


def collate(examples: Sequence[Encoded], pad: int) -> Batch:
    """Right-pad examples into a batch."""
    length = max(len(e.ids) for e in examples)
    ids = torch.full((len(examples), length), pad, dtype=torch.long)
    mask = torch.zeros((len(examples), length), dtype=torch.long)
    predict = torch.zeros((len(examples), length), dtype=torch.bool)
    for row, example in enumerate(examples):
        size = len(example.ids)
        ids[row, :size] = torch.tensor(example.ids)
        mask[row, :size] = 1
        predict[row, example.scored_from - 1 : size - 1] = True
    targets = torch.cat([torch.tensor(e.ids[e.scored_from :]) for e in examples])
    return Batch(ids, mask, predict, targets)


def by_length(examples: Sequence[Encoded], device: str) -> list[Sequence[Encoded]]:
    """A batch cut into parts of similar length, so that padding and passes together cost least on this device.

    The sum of the parts' losses is the batch's loss: only padding is saved.
    """
    cost = PASS_COST.get(device)
    if cost is None:
        return [examples]
    ordered = sorted(examples, key=lambda e: len(e.ids))
    # For the n shortest: the least cost, and where the last part begins.
    best = [(0, 0)]
    for n in range(1, len(ordered) + 1):
        longest = len(ordered[n - 1].ids)
        best.append(min((best[start][0] + (n - start) * longest + cost, start) for start in range(n)))
    parts: list[Sequence[Encoded]] = []
    end = len(ordered)
    while end:
        start = best[end][1]
        parts.append(ordered[start:end])
        end = start
    return parts


def collate_prompts(prompts: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Left-pad prompts for generation: ids and mask, each [batch, length]."""
    length = max(map(len, prompts))
    ids = torch.full((len(prompts), length), pad, dtype=torch.long)
    mask = torch.zeros((len(prompts), length), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt) :] = torch.tensor(prompt)
        mask[row, length - len(prompt) :] = 1
    return ids, mask


def endless(pairs: int, seed: int) -> Iterator[int]:
    """Indices of all pairs in one random order after another."""
    epoch = 0
    while True:
        order = list(range(pairs))
        random.Random(f"order {seed} {epoch}").shuffle(order)
        yield from order
        epoch += 1


def training_batches(examples: Sequence[Example], encoder: Encoder, size: int, seed: int) -> Iterator[list[Encoded]]:
    """Endless batches of `size` pairs of example and reference, of similar length within a batch.

    The order depends on the data and the seed alone, so that every method sees the same batches.
    """
    pairs = [(example, reference) for example in examples for reference in example.references]
    if not pairs:
        raise UserError("the training split is empty; check the data")
    indices = endless(len(pairs), seed)
    window = 0
    while True:
        encoded = [encoder.pair(*pairs[next(indices)]) for _ in range(BUCKET * size)]
        encoded.sort(key=lambda e: len(e.ids))
        batches = [encoded[i : i + size] for i in range(0, len(encoded), size)]
        random.Random(f"batches {seed} {window}").shuffle(batches)
        yield from batches
        window += 1
