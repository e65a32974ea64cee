"""What fine-tuning does to text and tasks that it did not touch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from harness.data.batching import Batch, Encoded, collate
from harness.data.panel import PanelItem, correct, general_text, load_panel
from harness.errors import UserError
from harness.evaluate import Answer, generate
from harness.forward import LabelForward

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from harness.config import Eval, ForgettingSettings

PANEL_TOKENS = 16
"""Tokens that an answer of the panel may have."""


@dataclass(frozen=True)
class TextLoss:
    """General text under a model."""

    loss: float
    """Mean negative log-likelihood per token, in nats."""
    tokens: int
    kl: float | None
    """Mean over tokens of KL(base || model) in nats; None for the base itself."""


def windows(tokenizer: PreTrainedTokenizerBase, settings: ForgettingSettings, device: Any) -> list[Batch]:
    """The general text cut into windows that do not overlap; in each, every token but the first is scored."""
    if settings.text == "embedded":
        text = general_text()
    else:
        try:
            text = Path(settings.text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"forgetting.text={settings.text}: cannot be read as UTF-8 text ({error})") from None
    ids = tokenizer(text, add_special_tokens=False)["input_ids"][: settings.max_tokens]
    size = settings.window
    found = [
        collate([Encoded(tuple(ids[i : i + size]), 1)], int(tokenizer.pad_token_id or 0)).to(device)
        for i in range(0, len(ids) - size + 1, size)
    ]
    if not found:
        raise UserError(f"forgetting.text={settings.text}: {len(ids)} tokens do not fill a window of {size}")
    return found


def describe(settings: ForgettingSettings) -> str:
    """Name of the general text and how it is cut."""
    name = "embedded text" if settings.text == "embedded" else Path(settings.text).name
    return f"{name}, first {settings.max_tokens} tokens in windows of {settings.window}"


@torch.no_grad()
def text_loss(forward: LabelForward, batches: Sequence[Batch], keep: Path | None, base: Path | None) -> TextLoss:
    """Loss on general text. `keep`: write the logits there; `base`: the base's logits, to compare with.

    The base's logits are kept in the dtype they are computed in, so nothing is lost.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    forward.model.eval()
    total = distance = 0.0
    kept: dict[str, torch.Tensor] = {}
    file: Any = safe_open(str(base), framework="pt") if base else None
    for index, batch in enumerate(batches):
        logits = forward.logits(batch)
        total += cross_entropy(logits.float(), batch.targets, reduction="sum").item()
        if keep:
            kept[str(index)] = logits.cpu().contiguous()
        if file:
            expected = log_softmax(file.get_tensor(str(index)).to(logits.device).float(), dim=-1)
            got = log_softmax(logits.float(), dim=-1)
            distance += kl_div(got, expected, reduction="sum", log_target=True).item()
    if keep:
        save_file(kept, keep)
    tokens = sum(len(batch.targets) for batch in batches)
    return TextLoss(total / tokens, tokens, distance / tokens if base else None)


def panel_prompt(tokenizer: PreTrainedTokenizerBase, item: PanelItem) -> list[int]:
    """The instruction as the model was taught to read it: by its chat template where it has one."""
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": item.prompt}], tokenize=False, add_generation_prompt=True
        )
    else:
        text = item.prompt + "\n"
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def panel_scores(
    answer: Answer, model: Any, tokenizer: PreTrainedTokenizerBase, settings: Eval, progress: Callable[[int], None]
) -> list[dict[str, Any]]:
    """For each item of the panel: task, answer, and whether it is right."""
    items = load_panel()
    short = settings.model_copy(update={"max_new_tokens": PANEL_TOKENS, "beams": 1, "no_repeat_ngram": 0})
    answers = generate(answer, model, tokenizer, [panel_prompt(tokenizer, item) for item in items], short, progress)
    return [
        {"task": item.task, "answer": answer, "right": correct(item, answer)}
        for item, answer in zip(items, answers, strict=True)
    ]


def shares(lines: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Share of right answers by task, and over `all` items."""
    tasks = {
        task: fmean(line["right"] for line in lines if line["task"] == task) for task in {x["task"] for x in lines}
    }
    return tasks | {"all": fmean(line["right"] for line in lines)}
