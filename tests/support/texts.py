"""Answers of a tiny model."""

from __future__ import annotations

from typing import Any

import torch

from harness.evaluation.answers import write_answers
from harness.prepare.base_model import LoadedModel
from tests.support.tiny import Adapted


def texts(a: Adapted, size: int, beams: int = 1) -> list[str]:
    """What eight prompts of unlike length are answered. A space is shown, since it would be stripped."""
    prompts = [a.task.encoder.prompt(e, 12) for e in a.task.train[:8]]
    assert len({len(prompt) for prompt in prompts}) > 4
    changed = a.settings.eval.model_copy(update={"batch_size": size, "beams": beams})
    made = write_answers(a.settings.method.generate, LoadedModel(a.model, Shown(a.tokenizer)), prompts, changed)
    return [each.text for each in made]


class Shown:
    """The tiny model's tokenizer, except that it decodes to the tokens' numbers."""

    def __init__(self, tokenizer: Any) -> None:
        self.pad_token_id, self.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
        self.bos_token_id = tokenizer.bos_token_id

    def batch_decode(self, rows: torch.Tensor, skip_special_tokens: bool) -> list[str]:
        special = {self.pad_token_id, self.eos_token_id} if skip_special_tokens else set()
        return [" ".join(str(token) for token in row if token not in special) for row in rows.tolist()]
