"""What the memory ledger's pass works on: the longest batches of a run, or full ones where there is no text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch

from harness.errors import UserError
from harness.host.environment import resolve_device
from harness.prepare.base_model import context_of
from harness.prepare.batch import PASS_COST, Batch, Encoded, by_length, collate, collate_prompts
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.order import training_batches

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.methods import Kind
    from harness.settings import Train


SCANNED = 20_000
"""Training examples among which the longest batch is looked for; a longer training has hardly a longer one."""


Prompts = tuple[torch.Tensor, torch.Tensor | None] | None


@dataclass(frozen=True)
class Batches:
    """What the pass works on, on the model's device."""

    training: tuple[Batch, ...]
    """The forward passes of one step that matter: the longest of the run last, and another one where its step has
    several, since gradients are then there from the start."""
    scored: Batch
    """The longest of what is scored without gradients."""
    prompts: Prompts
    """Ids and mask [batch, length] of the prompts that are answered, the mask as in `Batch`; None where nothing is
    generated."""
    window: Batch | None = None
    """General text as it is compared with what the base gave; None where it is not."""

    @property
    def all(self) -> tuple[Batch, ...]:
        """Those of texts."""
        return (*self.training, self.scored, *([self.window] if self.window else []))

    def each(self, of: Callable[[Batch], Batch], prompts: Prompts) -> Batches:
        """With `of` done to each text's, and other prompts."""
        window = None if self.window is None else of(self.window)
        return Batches(tuple(map(of, self.training)), of(self.scored), prompts, window)


def longest_step(
    batches: Iterator[list[Encoded]], train: Train, device: str, dtype: torch.dtype
) -> list[Sequence[Encoded]]:
    """The parts of a run's steps that `Batches.training` holds."""
    cost = PASS_COST.get((device, dtype))
    longest: list[Sequence[Encoded]] = []
    most = 0
    steps = min(train.steps, max(1, SCANNED // (train.batch_size * train.accumulation)))
    for _ in range(steps):
        parts = [part for each in islice(batches, train.accumulation) for part in by_length(each, cost)]
        parts.sort(key=_padded)
        if _padded(parts[-1]) > most:
            most = _padded(parts[-1])
            longest = [parts[0], parts[-1]] if len(parts) > 1 else [parts[-1]]
    return longest


def _padded(part: Sequence[Encoded]) -> int:
    return len(part) * max(map(len, part))


def run_batches(task: EncodedTask, dtype: torch.dtype) -> Batches:
    """The batches of a run that its pass works on."""
    settings, pad = task.settings, task.pad
    size = settings.train.batch_size
    batches = training_batches(task.train, task.encoder, size, settings.seed)
    longest = longest_step(batches, settings.train, resolve_device(settings.device), dtype)
    window = None
    if task.kind == "causal":
        length = min(settings.forgetting.window, context_of(task.model.config))
        window = collate([Encoded((pad,) * length, 1)], pad).to(task.device)
    prompts = None
    if task.prompts and task.kind != "classification":
        ordered = sorted(task.prompts.values(), key=len)
        ids, mask = collate_prompts(ordered[-settings.eval.batch_size :], pad)
        prompts = (ids.to(task.device), mask.to(task.device))
    training = tuple(collate(part, pad).to(task.device) for part in longest)
    return Batches(training, max(task.validation, key=lambda batch: batch.ids.numel()), prompts, window)


def filled_batches(settings: RunSettings, kind: Kind, length: int, context: int) -> Batches:
    """Batches of full length, of which every token that can be is trained on: where there is no text."""
    rows, train, new = settings.train.batch_size, settings.train, settings.eval.max_new_tokens
    if length > context:
        raise UserError(f"plan.length={length}: the model reads {context} tokens at most; lower it or train.max_length")
    ids = (0,) * length
    example = {
        "causal": Encoded(ids, 1),
        "seq2seq": Encoded(ids, answer=ids),
        "classification": Encoded(ids, label=0),
    }[kind]
    batch = collate([example] * rows, 0)
    training = (batch,) * (2 if train.accumulation > 1 else 1)
    if kind == "classification":
        return Batches(training, batch, None)
    room = max(1, length - new) if kind == "causal" else length
    return Batches(training, batch, collate_prompts([ids[:room]] * settings.eval.batch_size, 0))
