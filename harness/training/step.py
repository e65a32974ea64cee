"""The gradients of a training step: of a run that trains, and of the pass that counts its memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import torch

from harness.methods import Method
from harness.prepare.batch import Batch
from harness.prepare.forward import LabelForward

Part = Literal["forward", "backward", "step"]


class Observer(Protocol):
    """Looks on at a step."""

    def part(self, name: Part) -> AbstractContextManager[None]:
        """Around each part of the step."""

    def loss(self, value: torch.Tensor) -> None:
        """A batch's share of the loss, after its backward pass."""

    def penalty(self, value: torch.Tensor) -> None:
        """The method's penalty, after its backward pass."""


def gradients(
    forward: LabelForward,
    method: Method,
    batches: Sequence[Batch],
    label_smoothing: float,
    observer: Observer,
    scaled: Callable[[torch.Tensor], torch.Tensor] = lambda loss: loss,
) -> None:
    """Add up the gradients of the batches' mean loss, each label weighing the same, and of the method's penalty.
    `scaled`: the loss whose gradients can be held in the run's precision."""
    labels = sum(len(batch.targets) for batch in batches)
    for batch in batches:
        with observer.part("forward"):
            part = forward.loss_sum(batch, label_smoothing) / labels
        with observer.part("backward"):
            scaled(part).backward()  # type: ignore[no-untyped-call]
            observer.loss(part)
            del part
    with observer.part("backward"):
        penalty = method.penalty(forward.model)
        if penalty is not None:
            scaled(penalty).backward()  # type: ignore[no-untyped-call]
            observer.penalty(penalty)
        del penalty
