"""What fine-tuning does to text and tasks that it did not touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from harness.data.untouched import EMBEDDED, articles, general_text
from harness.errors import UserError, finite
from harness.prepare.base_model import context_of
from harness.prepare.batch import Batch, Encoded, collate
from harness.prepare.forward import LabelForward
from harness.prepare.tokens import Texts
from harness.texts import read

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from harness.settings import ForgettingSettings

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of the tokens' divergences that a record holds."""


@dataclass(frozen=True)
class Divergence:
    """A model beside the base, over the first tokens of general text."""

    tokens: int
    kl: float
    """Mean over tokens of KL(base || model) in nats."""
    kl_std: float
    """Standard deviation of the tokens' divergences, in nats (divided by their number)."""
    kl_quantiles: dict[str, float]
    """By percentage, such as `95%`: quantile of the tokens' divergences, in nats."""
    agreement: float
    """Share of tokens for which both models hold the same next token for the most likely, 0 to 1."""


@dataclass(frozen=True)
class TextLoss:
    """General text under a model."""

    loss: float
    """Mean negative log-likelihood per token, in nats; its exponential is the perplexity."""
    tokens: int
    """Scored tokens."""
    divergence: Divergence | None
    """None for the base itself."""


def spans(length: int, window: int, stride: int, opening: int = 0) -> list[tuple[int, int, int]]:
    """Windows over a document of `length` tokens, the first `opening` of them put in front of it: begin, first scored
    token, end.

    Each token of the document is scored once, with at least `window - stride` tokens before it, or all there are. One
    with none is not scored: the first where nothing is in front, and where `stride` is `window`, that of each window.
    """
    places, done = [], opening
    for begin in range(0, length, stride):
        end = min(begin + window, length)
        first = max(done, begin + 1)
        if first < end:
            places.append((begin, first, end))
        done = end
        if end == length:
            break
    return places


def windows(model: Any, tokenizer: PreTrainedTokenizerBase, settings: ForgettingSettings) -> list[Batch]:
    """The general text, cut into windows for this model. Raises UserError."""
    if settings.window > (context := context_of(model.config)):
        raise UserError(f"forgetting.window={settings.window}: the model reads {context} tokens at most; lower it")
    if settings.text == EMBEDDED:
        text = general_text()
    else:
        try:
            text = read(Path(settings.text)).replace("\r\n", "\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"forgetting.text={settings.text}: cannot be read as UTF-8 text ({error})") from None
    left = settings.max_tokens
    texts = Texts(tokenizer, model.config.get_text_config().vocab_size)
    opening = len(texts.opening)
    device, pad = model.get_input_embeddings().weight.device, int(tokenizer.pad_token_id or 0)
    batches = []
    for document in articles(text) if settings.documents == "wikitext" else [text]:
        ids = texts.ids(document)
        ids = ids if left is None else ids[: opening + left]
        left = None if left is None else left - (len(ids) - opening)
        for begin, first, end in spans(len(ids), settings.window, settings.stride, opening):
            batches.append(collate([Encoded(ids[begin:end], first - begin)], pad).to(device))
        if left == 0:
            break
    if not batches:
        raise UserError(f"forgetting.text={settings.text}: has fewer than two tokens; name a text to measure on")
    return batches


def describe(settings: ForgettingSettings) -> str:
    """Name of the general text and how it is cut."""
    name = "embedded text" if settings.text == EMBEDDED else Path(settings.text).name
    first = "all tokens" if settings.max_tokens is None else f"first {settings.max_tokens} tokens"
    apart = " an article" if settings.documents == "wikitext" else ""
    return f"{name}, {first} in windows of {settings.window}, stride {settings.stride}{apart}"


@torch.no_grad()
def text_loss(
    forward: LabelForward, batches: Sequence[Batch], compared: int, keep: Path | None, base: Path | None
) -> TextLoss:
    """Loss on general text, and over the first `compared` tokens the divergence from the base.

    `keep`: write the logits of those tokens there; `base`: the base's, to compare with. They are kept in the dtype they
    are computed in, so nothing is lost.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    forward.model.eval()
    total, left = 0.0, compared
    base_logits: dict[str, torch.Tensor] = {}
    distances: list[torch.Tensor] = []
    agreed = 0
    file: Any = safe_open(str(base), framework="pt") if base else None
    for index, batch in enumerate(batches):
        logits = forward.logits(batch)
        total += cross_entropy(logits.float(), batch.targets, reduction="sum").item()
        logits = logits[:left]
        left -= len(logits)
        if keep and len(logits):
            base_logits[str(index)] = logits.cpu().contiguous()
        if file and len(logits):
            before = file.get_tensor(str(index))[: len(logits)].to(logits.device)
            distances.append(distance(logits, before).cpu())
            agreed += int((before.argmax(-1) == logits.argmax(-1)).sum())
    if keep:
        save_file(base_logits, keep)
    tokens = sum(len(batch.targets) for batch in batches)
    kl = divergence(torch.cat(distances), agreed) if distances else None
    if kl:
        finite("the KL divergence on general text", kl.kl)
    return TextLoss(finite("the loss on general text", total / tokens), tokens, kl)


def distance(logits: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """KL(before || logits) of each token in nats, of logits [tokens, vocabulary]."""
    expected, got = log_softmax(before.float(), dim=-1), log_softmax(logits.float(), dim=-1)
    return kl_div(got, expected, reduction="none", log_target=True).sum(-1)


def divergence(distances: torch.Tensor, agreed: int) -> Divergence:
    """Summary of the tokens' divergences [tokens]; `agreed` of them have the same most likely next token."""
    values = distances.double()
    quantiles = torch.quantile(values, torch.tensor(QUANTILES, dtype=torch.float64)).tolist()
    return Divergence(
        tokens=len(values),
        kl=values.mean().item(),
        kl_std=values.std(correction=0).item(),
        kl_quantiles={f"{100 * share:g}%": value for share, value in zip(QUANTILES, quantiles, strict=True)},
        agreement=agreed / len(values),
    )
