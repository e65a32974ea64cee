"""A forward pass that computes logits only where there is a label, and losses made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from harness.errors import finite
from harness.prepare.batch import Batch


def _together(_module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (args[0].contiguous(),)


def states_together(model: Any) -> None:
    """Let a model's output head see hidden states that lie together in memory.

    Where transformers asks for the last position alone, the head gets a slice. In bf16 a CPU then multiplies it row by
    row and packs the head's weights for each: SmolLM2 read 32 prompts 3.6 times slower, with 1.7 GiB more. The scores
    are the same.
    """
    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(_together)


@contextmanager
def finite_logits(what: str, model: Any) -> Iterator[None]:
    """Raise NotFinite, naming `what` is done in the block, where the output head gives no number at a last position.

    A search for the largest logit takes NaN for it, and so goes on to answer. One logit may be -inf, as of a token that
    a model never says; the largest may not.
    """
    largest: list[torch.Tensor] = []

    def note(_module: torch.nn.Module, _args: Any, logits: torch.Tensor) -> None:
        rows = logits[:, -1] if logits.ndim == 3 else logits
        least = rows.detach().amax(-1).float().abs().amax()  # NaN where one is, and no waiting for the device
        largest[:] = [torch.maximum(largest[0], least) if largest else least]

    handle = model.get_output_embeddings().register_forward_hook(note)
    try:
        yield
    finally:
        handle.remove()
    if largest:
        finite(f"the largest logit {what}", largest[0].item())


def mean_of(losses: Sequence[tuple[float, int]]) -> float:
    """The mean nats per label of what `LabelForward.example_losses` gave."""
    return sum(nats for nats, _ in losses) / sum(labels for _, labels in losses)


class LabelForward:
    """Logits at chosen positions alone; with a large vocabulary they are a third of a causal model's work.

    It selects in front of the output head, inside the model's own forward pass, so whatever the model or a method does
    around it (scaling, soft prompts, penalties) still happens.
    """

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        self.model, self.dtype = model, dtype
        self._scored: torch.Tensor | None = None
        self._length = 0
        device = next(model.parameters()).device.type
        # Weights kept in fp32 for training compute in the run's dtype.
        own = hasattr(model, "peft_config")  # PEFT's layers see to the precision of their weights themselves
        weights = [model.get_input_embeddings().weight] if own else model.parameters()
        mixed = dtype != torch.float32 and any(weight.dtype == torch.float32 for weight in weights)
        self._autocast_options: dict[str, Any] = {"device_type": device, "dtype": dtype, "enabled": mixed}

    def _select(self, _module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        assert self._scored is not None
        rows, columns = self._scored
        # A soft prompt lengthens the hidden states on their left.
        return (args[0][:, -self._length :][rows, columns],)

    @contextmanager
    def _selecting(self, scored: torch.Tensor, length: int) -> Iterator[None]:
        self._scored, self._length = scored, length
        head: torch.nn.Module = self.model.get_output_embeddings()
        handle = head.register_forward_pre_hook(self._select)
        try:
            yield
        finally:
            handle.remove()
            self._scored = None

    def logits(self, batch: Batch) -> torch.Tensor:
        """[labels, vocabulary] logits at the batch's scored positions, row by row; [batch, classes] of a classifier."""
        arguments: dict[str, Any] = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if batch.decoder is not None:
            arguments["decoder_input_ids"] = batch.decoder
        with torch.autocast(**self._autocast_options):
            if batch.predict is None or batch.scored is None:
                logits: torch.Tensor = self.model(**arguments).logits
            else:
                with self._selecting(batch.scored, batch.predict.shape[1]):
                    logits = self.model(**arguments, use_cache=False).logits
        return logits

    def loss_sum(self, batch: Batch, smoothing: float = 0.0) -> torch.Tensor:
        """Summed negative log-likelihood of the batch's labels, in nats."""
        logits = self.logits(batch).float()
        return torch.nn.functional.cross_entropy(logits, batch.targets, reduction="sum", label_smoothing=smoothing)

    @torch.no_grad()
    def example_losses(self, batches: Sequence[Batch]) -> list[tuple[float, int]]:
        """Of each example in the batches' order its summed negative log-likelihood in nats, without dropout, and the
        number of its labels."""
        was_training = self.model.training
        self.model.eval()
        losses: list[tuple[float, int]] = []
        for batch in batches:
            each = torch.nn.functional.cross_entropy(self.logits(batch).float(), batch.targets, reduction="none")
            rows = torch.arange(len(each), device=each.device) if batch.scored is None else batch.scored[0]
            sums = each.new_zeros(len(batch.ids), dtype=torch.float64).index_add_(0, rows, each.double())
            losses += zip(sums.tolist(), torch.bincount(rows, minlength=len(sums)).tolist(), strict=True)
        self.model.train(was_training)
        return losses

    @torch.no_grad()
    def mean_loss(self, batches: Sequence[Batch]) -> float:
        """Mean negative log-likelihood in nats per scored token, or per text of a classifier, without dropout."""
        was_training = self.model.training
        self.model.eval()
        total = sum(self.loss_sum(batch).item() for batch in batches)
        self.model.train(was_training)
        return total / sum(len(batch.targets) for batch in batches)
