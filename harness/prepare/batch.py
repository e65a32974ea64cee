"""Texts to batches of token ids: what is trained on, in which order, with how much padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

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
    skipped: tuple[tuple[int, int], ...] = ()
    """Stretches behind `scored_from`, from the first position to before the last, that do not count: others' turns."""
    answer: tuple[int, ...] = ()
    label: int | None = None
    cut: bool = False
    """Text of the example was left out, so that it fits."""
    shortened: bool = False
    """Some of that was of what is trained on."""

    def __len__(self) -> int:
        return len(self.ids) + len(self.answer)

    @property
    def places(self) -> list[int]:
        """Of a causal model, the positions that count, ascending."""
        out = {i for start, end in self.skipped for i in range(start, end)}
        return [i for i in range(self.scored_from, len(self.ids)) if i not in out]

    @property
    def labels(self) -> tuple[int, ...]:
        """The tokens that count in the loss."""
        return self.answer[1:] if self.answer else tuple(self.ids[i] for i in self.places)


@dataclass(frozen=True)
class Batch:
    """Right-padded examples. Masks come from lengths: pad and end may be the same token."""

    ids: torch.Tensor
    """[batch, length] token ids."""
    mask: torch.Tensor | None
    """[batch, length] 1 where there is text; None only in plans, where there is text everywhere."""
    predict: torch.Tensor | None
    """[batch, length] True at positions whose next token counts in the loss, of the decoder's input where there is one;
    None for a classifier."""
    targets: torch.Tensor
    """[labels] those next tokens, row by row; [batch] classes for a classifier."""
    decoder: torch.Tensor | None = None
    """[batch, answer length] the decoder's input of a sequence-to-sequence model."""
    scored: torch.Tensor | None = None
    """[2, labels] rows and columns at which `predict` is True: what is chosen by them has a known shape."""

    @property
    def tokens(self) -> int:
        """Tokens of text, padding not counted."""
        assert self.mask is not None
        return int(self.mask.sum()) + (0 if self.decoder is None else len(self.targets))

    def inputs(self) -> dict[str, torch.Tensor]:
        """Keyword arguments of a model's own `forward`: labels are -100 where nothing is scored."""
        arguments: dict[str, Any] = {"input_ids": self.ids, "attention_mask": self.mask}
        if self.predict is None:
            return arguments | {"labels": self.targets}
        labels = torch.full_like(self.ids if self.decoder is None else self.decoder, -100)
        if self.decoder is None:
            labels[:, 1:][self.predict[:, :-1]] = self.targets
        else:
            labels[self.predict] = self.targets
        return arguments | {"labels": labels}

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        moved: dict[str, Any] = {n: None if tensor is None else tensor.to(device) for n, tensor in vars(self).items()}
        return Batch(**moved)


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
        return Batch(ids, mask, scored.bool(), targets, decoder, scored.nonzero().t())
    predict = torch.zeros_like(mask, dtype=torch.bool)
    for row, example in enumerate(examples):
        predict[row, torch.tensor(example.places, dtype=torch.long) - 1] = True
    targets = torch.cat([torch.tensor(e.labels, dtype=torch.long) for e in examples])
    return Batch(ids, mask, predict, targets, scored=predict.nonzero().t())


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
