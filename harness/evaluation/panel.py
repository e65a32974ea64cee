"""The panel: small questions about what a base model knows, asked before and after training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.data.untouched import PanelItem, correct, load_panel
from harness.errors import UserError
from harness.evaluation.answers import Answer, write_answers
from harness.prepare.base_model import LoadedModel, context_of
from harness.prepare.chat import turn
from harness.prepare.tokens import Texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from harness.settings import Eval


PANEL_TOKENS = 16
"""Tokens that an answer of the panel may have."""


def panel_prompt(tokenizer: PreTrainedTokenizerBase, item: PanelItem) -> list[int]:
    """The instruction as the model was taught to read it: by its chat template where it has one that takes it."""
    texts = Texts(tokenizer)
    try:
        return list(texts.chat([turn("user", item.prompt)]))
    except UserError:
        return list(texts.ids(item.prompt + "\n"))


def panel_scores(
    answer: Answer,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    panel: str,
    settings: Eval,
    progress: Callable[[int], None],
) -> list[dict[str, Any]]:
    """For each item of the panel: task, answer, and whether it is right. Raises UserError."""
    items = load_panel(panel)
    prompts = [panel_prompt(tokenizer, item) for item in items]
    longest, room = max(map(len, prompts)), context_of(model.config) - PANEL_TOKENS
    if longest > room:
        raise UserError(
            f"forgetting.panel={panel}: a prompt has {longest} tokens and the model room for {room}; cut it"
        )
    short = settings.model_copy(update={"max_new_tokens": PANEL_TOKENS, "beams": 1, "no_repeat_ngram": 0})
    answers = write_answers(answer, LoadedModel(model, tokenizer), prompts, short, progress)
    return [
        {"task": item.task, "answer": written.text, "right": correct(item, written.text)}
        for item, written in zip(items, answers, strict=True)
    ]


def shares(lines: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Share of right answers by task, and over `all` items."""
    tasks = {
        task: fmean(line["right"] for line in lines if line["task"] == task) for task in {x["task"] for x in lines}
    }
    return tasks | {"all": fmean(line["right"] for line in lines)}


def changes(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Items lost (right before, wrong after) and gained (wrong before, right after), by task."""
    counts = {line["task"]: (0, 0) for line in before}
    for old, new in zip(before, after, strict=True):
        lost, gained = counts[old["task"]]
        counts[old["task"]] = (lost + (old["right"] and not new["right"]), gained + (new["right"] and not old["right"]))
    return counts
