"""A model as lm-evaluation-harness takes it, which says how far it is and what did not fit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from harness.errors import UserError, first_line
from harness.limits import little

if TYPE_CHECKING:
    from harness.evaluation.answers import Answer


class Told:
    """In the place of that library's cache, which is given each answer: says how many there are, of how many."""

    def __init__(self, tell: Callable[[int, int], None], tasks: Iterable[Any]) -> None:
        self._tell, self._tasks, self._done = tell, tasks, 0

    def add_partial(self, *_: Any) -> None:
        """One more. Raises what `tell` does."""
        self._done += 1
        self._tell(self._done, sum(len(task.instances) for task in self._tasks))


def wrapped(answer: Answer, model: Any, tokenizer: Any, batch_size: int) -> Any:
    """The model as the library takes it; it writes by `answer`, which gives the same text at any batch size. Its `cut`
    has each question that was too long and lost its beginning, as text."""
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import GenerationConfig

    from harness.prepare.forward import finite_logits

    class Adapted(HFLM):  # type: ignore[misc]
        add_bos_token: bool | None
        cut: set[str]

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
            # The library puts BOS in front of a text itself; with the tokenizer's own there would be two.
            before = self.add_bos_token
            self.add_bos_token = False
            try:
                likelihoods: list[float] = super().loglikelihood_rolling(requests, disable_tqdm)
            finally:
                self.add_bos_token = before
            return likelihoods

        def _loglikelihood_tokens(self, requests: Any, *options: Any, **named: Any) -> Any:
            room = self.max_length + 1  # the last token is predicted alone
            self.cut |= {texts[0] for texts, *ids in requests if texts and sum(map(len, ids)) > room}
            return super()._loglikelihood_tokens(requests, *options, **named)

        def tok_batch_encode(
            self, strings: Any, *options: Any, left_truncate_len: int | None = None, **named: Any
        ) -> Any:
            ids, mask = super().tok_batch_encode(strings, *options, **named)
            if left_truncate_len:
                self.cut |= {text for text, row in zip(strings, mask, strict=True) if row.sum() > left_truncate_len}
                ids, mask = ids[:, -left_truncate_len:], mask[:, -left_truncate_len:]
            return ids, mask

        def apply_chat_template(self, *options: Any, **named: Any) -> str:
            try:
                with little():
                    return str(super().apply_chat_template(*options, **named))
            except Exception as error:  # a template is a program, which may fail in any way
                raise UserError(
                    f"lm_eval.apply_chat_template: the model's chat template refuses a task's turns "
                    f"({first_line(error)}); use lm_eval.apply_chat_template=false"
                ) from None

        def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
            config = GenerationConfig(  # type: ignore[no-untyped-call]
                do_sample=False,
                max_new_tokens=max_length - context.shape[1],
            )
            with finite_logits("while generating", model):
                new = answer(model, context, options["attention_mask"], config)
            return torch.cat([context, new], dim=1)

    os.environ["TQDM_DISABLE"] = "1"
    model.eval()
    length = getattr(model.config, "max_position_embeddings", None)
    made = Adapted(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, max_length=length)
    made.cut = set()
    return made
