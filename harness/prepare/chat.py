"""How a model's chat template writes turns: what stands in front of an answer, and what ends it. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import UserError, first_line
from harness.limits import little

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


MARKED = re.compile(r"\{%-?\s*generation\b")
"""In a template: what it writes from here on is the assistant's own."""
Turn = dict[str, str]
"""`role` (user, assistant) and `content`, as chat templates take them."""
PROBE = "xprobex"
"""An answer that no template changes or writes itself."""
INSTEAD = "use a model with another one; data.chat=false needs none, but conversations (data=chat) always do"
"""What may be done where a chat template cannot."""


@dataclass(frozen=True)
class Frame:
    """What a chat template writes around an answer; nothing where it cannot be used, which is reported on use."""

    before: str = ""
    """Text between its call for an answer and the answer, such as an empty train of thought: prompts end with it. White
    space alone is left to the answer, whose first token may hold it."""
    behind: str = ""
    """All that follows the answer."""
    closing: str = ""
    """What of it is text, up to the token that ends the turn: a written answer is cut there."""
    end: int | None = None
    """That token: the first special one. None where there is none."""
    specials: int = 0
    """Special tokens behind the answer."""


def turn(role: str, content: str) -> Turn:
    """What someone says."""
    return {"role": role, "content": content}


def frame(tokenizer: PreTrainedTokenizerBase) -> Frame:
    """What the tokenizer's chat template writes around the answer to a question."""
    question = [turn("user", "a")]
    try:
        called = rendered(tokenizer, question, call=True)
        whole = rendered(tokenizer, [*question, turn("assistant", PROBE)], call=False)
    except UserError:
        return Frame()
    if not whole.startswith(called):
        return Frame()
    before, probe, behind = whole[len(called) :].partition(PROBE)
    if not probe:
        return Frame()
    known = special_tokens(tokenizer)
    specials = [each for each in tokenizer(behind, add_special_tokens=False)["input_ids"] if each in known]
    end = specials[0] if specials else None
    text = behind if end is None else behind.partition(str(tokenizer.convert_ids_to_tokens(end)))[0]
    return Frame(before if before.strip() else "", behind, text.strip(), end, len(specials))


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that stand for no text."""
    return frozenset(number for number, token in tokenizer.added_tokens_decoder.items() if token.special)


def marked(tokenizer: PreTrainedTokenizerBase) -> bool:
    """The template says itself which of its text is the assistant's."""
    return bool(MARKED.search(str(tokenizer.chat_template or "")))


def rendered(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], call: bool) -> str:
    """The turns as the template writes them; `call`: with its call for an answer. Raises UserError."""
    if not tokenizer.chat_template:
        raise UserError(f"data.chat=true: the model has no chat template; {INSTEAD}")
    try:
        with little():
            text: Any = tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=call)
    except Exception as error:  # a template is a program, which may fail in any way
        raise UserError(f"the model's chat template refuses these turns ({first_line(error)}); {INSTEAD}") from None
    return str(text)
