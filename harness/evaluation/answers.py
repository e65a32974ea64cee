"""Generation and scores: what a model answers on the test examples, and how good that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from harness.data import Source
from harness.errors import finite
from harness.evaluation.scores import Prediction
from harness.prepare.base_model import LoadedModel
from harness.prepare.batch import Batch, collate_prompts
from harness.prepare.chat import frame
from harness.prepare.decoding import end_tokens
from harness.prepare.forward import LabelForward, finite_logits
from harness.texts import first_with_text

if TYPE_CHECKING:
    from harness.settings import Eval


Answer = Callable[[Any, torch.Tensor, torch.Tensor, Any], torch.Tensor]
"""New tokens [batch, new] of a model for prompts [batch, length], their mask and a generation config."""


@torch.no_grad()
def write_answers(
    answer: Answer,
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    settings: Eval,
    progress: Callable[[int], None] = lambda done: None,
    source: Source | None = None,
) -> list[Prediction]:
    """For each prompt the new text: up to an end token of the model, cut and stripped as the task `source` says; None:
    its first line alone. The model is one that `decoding.settle` has seen."""
    from transformers import GenerationConfig

    model, tokenizer = loaded
    # Beam options are refused by transformers where there are no beams.
    beams = {"length_penalty": settings.length_penalty} if settings.beams > 1 else {}
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        max_new_tokens=settings.max_new_tokens,
        num_beams=settings.beams,
        no_repeat_ngram_size=settings.no_repeat_ngram or None,
        **beams,
    )
    ends = torch.tensor(end_tokens(model))
    close = frame(tokenizer).closing if source is not None and source.chat else ""
    model.eval()
    device = model.get_input_embeddings().weight.device
    # Prompts of like length together, so that little is padding.
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    predictions = [Prediction("")] * len(prompts)
    for start in range(0, len(order), settings.batch_size):
        chosen = order[start : start + settings.batch_size]
        ids, mask = collate_prompts([prompts[i] for i in chosen], int(tokenizer.pad_token_id or 0))
        with finite_logits("while generating", model):
            new = answer(model, ids.to(device), mask.to(device), config)
        # A decoder's first token is the one it starts from, which may be an end token.
        ended = torch.isin(new[:, 1:].cpu() if model.config.is_encoder_decoder else new.cpu(), ends).any(1).tolist()
        texts = tokenizer.batch_decode(new, skip_special_tokens=True)
        for i, text, by_itself in zip(chosen, texts, ended, strict=True):
            if close and close in text:
                text, by_itself = text.partition(close)[0], True
            predictions[i] = Prediction(
                first_line(text) if source is None else answer_of(text, source), ended=by_itself
            )
        progress(start + len(chosen))
    return predictions


@torch.no_grad()
def classify(forward: LabelForward, batches: Sequence[Batch], classes: Sequence[str]) -> list[Prediction]:
    """For each text the most likely class, by a classification head."""
    forward.model.eval()
    rows = [row for batch in batches for row in forward.logits(batch).float().softmax(-1).tolist()]
    for row in rows:
        finite("a class's probability", sum(row))
    return [Prediction(classes[row.index(max(row))], tuple(row)) for row in rows]


def answer_of(text: str, source: Source) -> str:
    """The part of a generated text that is the answer."""
    for stop in source.stop:
        text = text.partition(stop)[0]
    return text.strip() if source.multiline else first_line(text)


def first_line(text: str) -> str:
    """The first line that has text, stripped; a model that goes on with other things is scored on its answer."""
    return first_with_text(text)
