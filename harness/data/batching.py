"""Texts to batches of token ids: what is trained on, in which order, with how much padding."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from harness.data import Example, Source
from harness.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BUCKET = 32
"""Batches drawn together and sorted by length: enough to save padding, few enough to keep the order random."""

PASS_COST = {("cpu", torch.float32): 60, ("cpu", torch.bfloat16): 150}
"""By device and precision: about how many tokens take as long as what a forward and backward pass costs at any size, as
benchmarks/README.md measures it. On a GPU a pass of few tokens takes as long as one of many."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of one example.

    For a causal model `ids` are prompt and completion, and `scored_from` is the first position that counts in the loss.
    For a sequence-to-sequence model `ids` are the prompt, and `answer` the decoder's start token and the completion.
    For a classifier `ids` are the text, and `label` is the index of its class.
    """

    ids: tuple[int, ...]
    scored_from: int = 0
    answer: tuple[int, ...] = ()
    label: int | None = None

    def __len__(self) -> int:
        return len(self.ids) + len(self.answer)


@dataclass(frozen=True)
class Batch:
    """Right-padded examples. Masks come from lengths: pad and end may be the same token."""

    ids: torch.Tensor
    """[batch, length] token ids."""
    mask: torch.Tensor
    """[batch, length] 1 where there is text."""
    predict: torch.Tensor | None
    """[batch, length] True at positions whose next token counts in the loss, of the decoder's input where there is one;
    None for a classifier."""
    targets: torch.Tensor
    """[labels] those next tokens, row by row; [batch] classes for a classifier."""
    decoder: torch.Tensor | None = None
    """[batch, answer length] the decoder's input of a sequence-to-sequence model."""

    @property
    def tokens(self) -> int:
        """Tokens of text, padding not counted."""
        return int(self.mask.sum()) + (0 if self.decoder is None else len(self.targets))

    def inputs(self) -> dict[str, torch.Tensor]:
        """Keyword arguments of a model's own `forward`: labels are -100 where nothing is scored."""
        given = {"input_ids": self.ids, "attention_mask": self.mask}
        if self.predict is None:
            return given | {"labels": self.targets}
        labels = torch.full_like(self.ids if self.decoder is None else self.decoder, -100)
        if self.decoder is None:
            labels[:, 1:][self.predict[:, :-1]] = self.targets
        else:
            labels[self.predict] = self.targets
        return given | {"labels": labels}

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        moved: dict[str, Any] = {n: None if tensor is None else tensor.to(device) for n, tensor in vars(self).items()}
        return Batch(**moved)


class Encoder:
    """Turns examples of a task into token ids. Raises UserError where a text is longer than it may be."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        source: Source,
        max_length: int,
        context: int,
        decoder_start: int | None = None,
    ) -> None:
        """`decoder_start`: the token that a sequence-to-sequence model's answers start from; None for others."""
        self.tokenizer = tokenizer
        self.source = source
        self.max_length = max_length
        self.context = context
        self.decoder_start = decoder_start

    def prompt(self, example: Example, room: int, before: str = "") -> list[int]:
        """The prompt's ids behind the text `before`, with room for an answer of `room` tokens where that follows it in
        the model's context: a causal model's does."""
        causal = self.decoder_start is None and self.source.classes is None
        room = room if causal else 0
        text = before + self.source.render(example)
        # An encoder reads a whole text, with the tokens that mark its ends; a causal model goes on with it.
        ids: list[int] = self.tokenizer(text, add_special_tokens=not causal)["input_ids"]
        if len(ids) + room > self.context:
            remedy = "lower method.shots" if before else "shorten it"
            raise UserError(
                f"a prompt of {len(ids)} tokens with room for {room} more does not fit the model's context of "
                f"{self.context} tokens: {example.source[:60]}…; {remedy}, or lower eval.max_new_tokens"
            )
        return ids

    def pair(self, example: Example, reference: str) -> Encoded:
        """An example with one of its references, to train or validate on."""
        if self.source.classes is not None:
            made = Encoded(tuple(self.prompt(example, 0)), label=self.source.classes.index(reference))
        elif self.decoder_start is not None:
            answer = (self.decoder_start, *self._completion(reference))
            made = Encoded(tuple(self.prompt(example, 0)), answer=answer)
        else:
            prompt = self.prompt(example, 1)
            made = Encoded((*prompt, *self._completion(" " + reference)), scored_from=len(prompt))
        limit = min(self.max_length, self.context)
        if (longest := max(len(made.ids), len(made.answer))) > limit:
            raise UserError(
                f"an example of {longest} tokens is longer than {limit}: {example.source[:60]}…; raise "
                f"train.max_length (the model's context is {self.context}) or remove the example"
            )
        return made

    def _completion(self, text: str) -> tuple[int, ...]:
        return (*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.tokenizer.eos_token_id)


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and mask (1 where there is text), each [batch, length]."""
    length = max(map(len, rows))
    ids = torch.full((len(rows), length), pad, dtype=torch.long)
    mask = torch.zeros((len(rows), length), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask


def collate(examples: Sequence[Encoded], pad: int) -> Batch:
    """Right-pad examples of one kind into a batch."""
    ids, mask = padded([e.ids for e in examples], pad)
    if examples[0].label is not None:
        return Batch(ids, mask, None, torch.tensor([e.label for e in examples]))
    if examples[0].answer:
        decoder, scored = padded([e.answer[:-1] for e in examples], pad)
        targets = torch.cat([torch.tensor(e.answer[1:]) for e in examples])
        return Batch(ids, mask, scored.bool(), targets, decoder)
    predict = torch.zeros_like(mask, dtype=torch.bool)
    for row, example in enumerate(examples):
        predict[row, example.scored_from - 1 : len(example.ids) - 1] = True
    targets = torch.cat([torch.tensor(e.ids[e.scored_from :]) for e in examples])
    return Batch(ids, mask, predict, targets)


def by_length(examples: Sequence[Encoded], cost: int | None) -> list[Sequence[Encoded]]:
    """A batch cut into parts of similar length, so that padding and passes, at `cost` tokens each, cost least together.

    The sum of the parts' losses is the batch's loss: only padding is saved. None: no padding is worth another pass.
    """
    if cost is None:
        return [examples]
    ordered = sorted(examples, key=len)
    # For the n shortest: the least cost, and where the last part begins.
    best = [(0, 0)]
    for n in range(1, len(ordered) + 1):
        longest = len(ordered[n - 1])
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
        encoded.sort(key=len)
        batches = [encoded[i : i + size] for i in range(0, len(encoded), size)]
        random.Random(f"batches {seed} {window}").shuffle(batches)
        yield from batches
        window += 1
