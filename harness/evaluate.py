"""Generation and scores: what a model answers on the test examples, and how good that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness import metrics
from harness.data import Example
from harness.data.batching import Batch, collate_prompts
from harness.forward import LabelForward
from harness.metrics.classes import accuracy, macro_f1

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from harness.config import Eval

Answer = Callable[[Any, torch.Tensor, torch.Tensor, Any], torch.Tensor]
"""New tokens [batch, new] of a model for prompts [batch, length], their mask and a generation config."""


@dataclass(frozen=True)
class Scores:
    """Scores over the test examples, and a line for each of them."""

    quality: dict[str, float | None]
    signatures: dict[str, str]
    lines: tuple[dict[str, Any], ...]
    """For each example: index, prediction, and each score's part. Never inputs or references."""
    reasons: dict[str, str] = field(default_factory=dict)
    """By score: why it is None."""


@torch.no_grad()
def generate(
    answer: Answer,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    settings: Eval,
    progress: Callable[[int], None] = lambda done: None,
) -> list[str]:
    """For each prompt the new text: up to the end token, white space stripped, its first line alone."""
    from transformers import GenerationConfig

    # Beam options are refused by transformers where there are no beams.
    beams = {"length_penalty": settings.length_penalty} if settings.beams > 1 else {}
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        max_new_tokens=settings.max_new_tokens,
        num_beams=settings.beams,
        no_repeat_ngram_size=settings.no_repeat_ngram or None,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        **beams,
    )
    model.eval()
    device = model.get_input_embeddings().weight.device
    # Prompts of like length together, so that little is padding.
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    texts = [""] * len(prompts)
    for start in range(0, len(order), settings.batch_size):
        chosen = order[start : start + settings.batch_size]
        ids, mask = collate_prompts([prompts[i] for i in chosen], int(tokenizer.pad_token_id or 0))
        new = answer(model, ids.to(device), mask.to(device), config)
        for i, text in zip(chosen, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
            texts[i] = first_line(text)
        progress(start + len(chosen))
    return texts


@torch.no_grad()
def classify(forward: LabelForward, batches: Sequence[Batch], classes: Sequence[str]) -> list[str]:
    """For each text the most likely class."""
    forward.model.eval()
    return [classes[i] for batch in batches for i in forward.logits(batch).argmax(-1).tolist()]


def score_classes(examples: Sequence[Example], predictions: Sequence[str]) -> Scores:
    """Accuracy and macro F1 of predicted classes."""
    expected = [example.references[0] for example in examples]
    lines = tuple(
        {"index": i, "prediction": p, "right": p == e}
        for i, (p, e) in enumerate(zip(predictions, expected, strict=True))
    )
    quality: dict[str, float | None] = {
        "accuracy": accuracy(predictions, expected),
        "macro_f1": macro_f1(predictions, expected),
    }
    signatures = {"accuracy": "share of right classes", "macro_f1": "mean F1 over the classes that occur"}
    return Scores(quality, signatures, lines)


def first_line(text: str) -> str:
    """The first line that has text, stripped; a model that goes on with other things is scored on its answer."""
    lines = text.strip().splitlines()
    return lines[0].strip() if lines else ""


def score(examples: Sequence[Example], predictions: Sequence[str], families: Sequence[str]) -> Scores:
    """The scores of these families of `harness.metrics` against the examples' references.

    A line holds, by name of the score, the example's statistics where the score is made of sums, else its own score.
    """
    references, sources = [example.references for example in examples], [example.source for example in examples]
    found = metrics.compute(families, predictions, references, sources)
    lines: list[dict[str, Any]] = [{"index": i, "prediction": text} for i, text in enumerate(predictions)]
    for name, one in found.items():
        parts = [list(row) for row in one.statistics] if one.statistics else one.examples
        for line, part in zip(lines, parts or (), strict=bool(parts)):
            line[name] = part
    reasons = {name: one.reason for name, one in found.items() if one.reason}
    return Scores(
        {name: one.value for name, one in found.items()},
        {name: one.signature for name, one in found.items()},
        tuple(lines),
        reasons,
    )


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write one JSON object a line, whole or not at all."""
    from harness.results import write_atomically

    write_atomically(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def read_lines(path: Path) -> tuple[dict[str, Any], ...]:
    """What `write_lines` wrote."""
    return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
