"""How likely a model finds texts, and the class that it finds the likeliest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from harness.errors import finite
from harness.evaluation.scores import Prediction
from harness.prepare.batch import Encoded, collate
from harness.prepare.forward import LabelForward


@torch.no_grad()
def log_likelihoods(
    forward: LabelForward,
    examples: Sequence[Encoded],
    batch_size: int,
    pad: int,
    device: Any,
    progress: Callable[[int], None] = lambda done: None,
) -> list[tuple[float, int]]:
    """For each example the summed log-likelihood of its scored tokens in nats, and how many they are.

    Examples that differ in their last token alone, as classes of one token do, are read once.
    """
    forward.model.eval()
    same: dict[tuple[object, ...], list[int]] = {}
    for i, example in enumerate(examples):
        read_ids = example.ids if example.answer else example.ids[:-1]
        same.setdefault((read_ids, example.answer[:-1], example.scored_from, example.skipped), []).append(i)
    groups = sorted(same.values(), key=lambda group: (len(examples[group[0]]), group[0]))
    likelihoods = [(0.0, 0)] * len(examples)
    for start in range(0, len(groups), batch_size):
        chosen = groups[start : start + batch_size]
        batch = collate([examples[group[0]] for group in chosen], pad).to(device)
        assert batch.predict is not None
        read = forward.logits(batch).float().log_softmax(-1).split(batch.predict.sum(1).tolist())  # type: ignore[no-untyped-call]
        for group, rows in zip(chosen, read, strict=True):
            for i in group:
                scored = examples[i].labels
                each = rows.gather(1, torch.tensor(scored, device=rows.device)[:, None])
                likelihoods[i] = (finite("a log-likelihood", each.double().sum().item()), len(scored))
        progress(start + len(chosen))
    return likelihoods


def by_likelihood(likelihoods: Sequence[tuple[float, int]], classes: Sequence[str]) -> Prediction:
    """The prediction that the log-likelihoods and token counts of all classes make: the likeliest one."""
    sums = torch.tensor([value for value, _ in likelihoods], dtype=torch.float64)
    counts = torch.tensor([count for _, count in likelihoods])
    plain, normalised = sums.softmax(0).tolist(), (sums / counts).softmax(0).tolist()
    return Prediction(classes[int(sums.argmax())], tuple(plain), tuple(normalised))
