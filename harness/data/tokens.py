"""How a tokenizer reads texts and turns: what it puts in front of a text, where an answer ends. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.errors import UserError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = tuple[int, ...]
Turn = dict[str, str]
"""`role` (user, assistant) and `content`, as chat templates take them."""

ANCHOR = "\n"
"""A text behind which another one is tokenized as in the middle of a text."""
PROBE = "answer"
"""An answer in which no chat template finds anything to change."""


class Texts:
    """Token ids as one tokenizer gives them for whole texts, BOS included where it puts one in front.

    A prompt's ids are always those of the prompt alone, since that is what the model is asked with. What follows it
    gets the ids that it has in the joined text; where a token would span both, the boundary stays and what follows gets
    the ids that it has behind other text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, rows: int | None = None) -> None:
        """`rows`: tokens that the model's embeddings have; None: not known."""
        self.tokenizer, self.rows = tokenizer, rows
        self.opening = opening(tokenizer)
        """What stands in front of every text."""

    def ids(self, text: str) -> Ids:
        """A text that a causal model goes on with: nothing marks its end."""
        return self.checked(self._opened(self._bare(text)))

    def chat(self, turns: Sequence[Turn]) -> Ids:
        """The prompt for the next answer; the template writes every special token, BOS too. Raises UserError."""
        return self.checked(self._bare(asked(self.tokenizer, turns)))

    def following(self, before: str, prompt: Ids, text: str) -> Ids:
        """The ids of `text` behind the prompt `before`, whose ids are these."""
        return self.checked(self._behind(prompt, self._opened(self._bare(before + text)), text))

    def answer(self, turns: Sequence[Turn], prompt: Ids, text: str) -> Ids:
        """The assistant's answer to these turns, whose ids are these, as the chat template writes it, up to the token
        that ends it; the tokenizer's end token where the template writes none. Raises UserError."""
        before, said = asked(self.tokenizer, turns), answered(self.tokenizer, turns, text)
        ids = self._behind(prompt, self._bare(before + said), said)
        return self.checked(ended(self.tokenizer, ids, self.special) or (*ids, end_of(self.tokenizer)))

    @cached_property
    def special(self) -> frozenset[int]:
        """Tokens that stand for no text."""
        return special_tokens(self.tokenizer)

    def checked(self, ids: Ids) -> Ids:
        """The ids. Raises UserError where the model's embeddings lack one."""
        if self.rows is not None and ids and max(ids) >= self.rows:
            raise UserError(outside(self.tokenizer, max(ids), self.rows, "a text has the token"))
        return ids

    def _opened(self, ids: Ids) -> Ids:
        """Once: a template of the data may write it itself."""
        return ids if ids[: len(self.opening)] == self.opening else self.opening + ids

    def _bare(self, text: str) -> Ids:
        return tuple(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _behind(self, prompt: Ids, joined: Ids, text: str) -> Ids:
        if joined[: len(prompt)] == prompt:
            return joined[len(prompt) :]
        anchor, anchored = self._bare(ANCHOR), self._bare(ANCHOR + text)
        return anchored[len(anchor) :] if anchored[: len(anchor)] == anchor else self._bare(text)


def opening(tokenizer: PreTrainedTokenizerBase) -> Ids:
    """The tokens that a tokenizer puts in front of every text, such as BOS."""
    bare: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer("a")["input_ids"]
    starts = [i for i in range(len(whole)) if whole[i : i + len(bare)] == bare]
    return tuple(whole[: starts[0]]) if starts else ()


def asked(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> str:
    """The text of these turns up to where the assistant answers. Raises UserError."""
    return _rendered(tokenizer, turns, add_generation_prompt=True)


def answered(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], text: str) -> str:
    """What the chat template writes behind `asked` where the assistant answers with `text`. Raises UserError."""
    before = asked(tokenizer, turns)
    whole = _rendered(tokenizer, [*turns, turn("assistant", text)], add_generation_prompt=False)
    if not whole.startswith(before):
        raise UserError(
            "data.chat=true: the model's chat template writes an answer otherwise than it asks for one, so that it "
            "cannot be trained on as it will be asked; use data.chat=false"
        )
    return whole[len(before) :]


def turn(role: str, content: str) -> Turn:
    """What someone says."""
    return {"role": role, "content": content}


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token with which the chat template ends an assistant's turn; None where it has no such token."""
    behind = tuple(tokenizer(_behind_answer(tokenizer), add_special_tokens=False)["input_ids"])
    ids = ended(tokenizer, behind, special_tokens(tokenizer))
    return ids[-1] if ids else None


def closing(tokenizer: PreTrainedTokenizerBase) -> str:
    """The text with which the chat template ends an assistant's turn, where it has no token for that; else empty."""
    return _behind_answer(tokenizer).strip() if turn_end(tokenizer) is None else ""


def _behind_answer(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the chat template writes behind an answer; nothing where it cannot be used, which is said when it is."""
    if not tokenizer.chat_template:
        return ""
    try:
        return answered(tokenizer, [turn("user", "a")], PROBE).rpartition(PROBE)[2]
    except UserError:
        return ""


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that stand for no text."""
    return frozenset(number for number, token in tokenizer.added_tokens_decoder.items() if token.special)


def ended(tokenizer: PreTrainedTokenizerBase, ids: Ids, special: frozenset[int]) -> Ids | None:
    """The ids of a turn up to the special token that ends it, without the white space that parts it from the next one;
    None where no special token does."""
    last = max((i for i, number in enumerate(ids) if number in special), default=-1)
    behind: Any = tokenizer.decode(list(ids[last + 1 :]))
    return None if last < 0 or behind.strip() else ids[: last + 1]


def end_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an answer outside a chat template. Raises UserError."""
    if tokenizer.eos_token_id is None:
        raise UserError(
            "the model's tokenizer has no end token, so no answer could be taught to end; give it one "
            "(eos_token in tokenizer_config.json), or choose another model"
        )
    return int(tokenizer.eos_token_id)


def usable(tokenizer: PreTrainedTokenizerBase, config: Any, writes: bool) -> int:
    """The token that texts are padded with. `config`: of the model; `writes`: it answers with text. Raises UserError
    where the tokenizer lacks a token that is needed, or has one that the model has no embedding for."""
    rows = config.get_text_config().vocab_size
    if writes:
        end_of(tokenizer)
    if tokenizer.pad_token_id is None:
        raise UserError(
            "the model's tokenizer has neither a token to pad with nor an end token; give it one (pad_token in "
            "tokenizer_config.json), or choose another model"
        )
    needed = {"pads with": tokenizer.pad_token_id}
    if writes:
        needed |= {"ends an answer with": tokenizer.eos_token_id}
    needed |= {"begins a text with": max(opening(tokenizer), default=0)}
    for what, number in needed.items():
        if number >= rows:
            raise UserError(outside(tokenizer, number, rows, f"the model's tokenizer {what}"))
    return int(tokenizer.pad_token_id)


def outside(tokenizer: PreTrainedTokenizerBase, number: int, rows: int, what: str) -> str:
    """What is wrong with a token that the model has no embedding for, and the remedy."""
    return (
        f"{what} {tokenizer.convert_ids_to_tokens(number)} with the id {number}, the model's embeddings have {rows} "
        "rows (0 and up): the tokenizer is another model's, or has grown; use the tokenizer that the model was "
        "trained with, or resize the embeddings and save the model"
    )


def _rendered(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], add_generation_prompt: bool) -> str:
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise UserError("data.chat=true: the model has no chat template; use data.chat=false")
    try:
        text: Any = tokenizer.apply_chat_template(
            list(turns), tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise UserError(
            f"the model's chat template refuses these turns ({first_line(error)}); use data.chat=false"
        ) from None
    return str(text)
