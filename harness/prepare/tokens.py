"""How a tokenizer reads texts and turns: what it puts in front of a text, where tokens of an answer begin and end.
Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any

from harness.errors import UserError, first_line
from harness.limits import little
from harness.prepare.chat import Frame, Turn, frame, marked, rendered, special_tokens, turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


Ids = tuple[int, ...]
ANCHOR = "\n"
"""A text behind which another one is tokenized as in the middle of a text."""


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
        return self.checked(self._bare(self._called(turns)))

    def following(self, before: str, prompt: Ids, text: str) -> Ids:
        """The ids of `text` behind the prompt `before`, whose ids are these."""
        return self.checked(self._behind(prompt, self._opened(self._bare(before + text)), text))

    def answer(self, turns: Sequence[Turn], prompt: Ids, text: str, ended: bool = True) -> Ids:
        """The assistant's answer to these turns, whose ids are these, as the chat template writes it; `ended`: with the
        token that ends it and special ones right behind that, or the tokenizer's end token where the template writes
        none. Raises UserError."""
        called = self._called(turns)
        whole = rendered(self.tokenizer, [*turns, turn("assistant", text)], call=False)
        if not whole.startswith(called):
            raise UserError(
                "data.chat=true: the model's chat template writes an answer otherwise than it asks for one, so that it "
                "cannot be trained on as it will be asked; use data.chat=false"
            )
        if not ended:
            whole = whole.removesuffix(self.frame.behind)
        ids = self._behind(prompt, self._bare(whole), whole[len(called) :])
        if ended:
            places = [i for i, number in enumerate(ids) if number in self.special]
            first = len(places) - self.frame.specials
            if 0 <= first < len(places):
                behind = takewhile(lambda number: number in self.special, ids[places[first] :])
                ids = ids[: places[first] + len(list(behind))]
            else:
                ids = (*ids, end_of(self.tokenizer))
        return self.checked(ids)

    def conversation(self, turns: Sequence[Turn], every: bool) -> tuple[Ids, list[int]]:
        """The ids of turns, the last of which is an answer, and the positions of those that the assistant says: in all
        of its turns, or in the last alone. Where the template marks them they are what it marks; else a turn begins
        where the template has called for it, and ends with its end token, as in `answer`. Raises UserError."""
        if marked(self.tokenizer):
            return self._marked(turns, every)
        *before, last = turns
        prompt = self.chat(before)
        ids = (*prompt, *self.answer(before, prompt, last["content"]))
        own = [*range(len(prompt), len(ids))]
        if every and any(each["role"] == "assistant" for each in before):
            own = [*self._earlier(before), *own]
        return ids, own

    def _marked(self, turns: Sequence[Turn], every: bool) -> tuple[Ids, list[int]]:
        """The same by the template's marks."""
        try:
            with little():
                made: Any = self.tokenizer.apply_chat_template(
                    list(turns), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
                )
        except Exception as error:  # a template is a program, which may fail in any way
            raise UserError(f"the model's chat template refuses these turns ({first_line(error)})") from None
        ids = self.checked(tuple(made["input_ids"]))
        own = [i for i, said in enumerate(made["assistant_masks"]) if said]
        first = 0 if every else len(self._bare(rendered(self.tokenizer, turns[:-1], call=False)))
        return ids, [i for i in own if i >= first]

    def _earlier(self, turns: Sequence[Turn]) -> list[int]:
        """The positions of the assistant's turns in the prompt that these turns make."""
        text, found = self._called(turns), []
        read = self.tokenizer(text, add_special_tokens=False, verbose=False, return_offsets_mapping=True)
        for number, each in enumerate(turns):
            if each["role"] != "assistant":
                continue
            called = self._called(turns[:number])
            upto = rendered(self.tokenizer, turns[: number + 1], call=False)
            said = text.find(each["content"].strip(), len(called)) + len(each["content"].strip())
            if not text.startswith(called) or not len(called) < said <= len(upto):
                raise UserError(
                    "data.loss=all: the model's chat template writes an earlier answer otherwise than it asks for one, "
                    "so that it cannot be trained on as it will be asked; use data.loss=last"
                )
            end = next((i for i in range(len(upto), said - 1, -1) if text.startswith(upto[:i])), said)
            own = [i for i, (start, _) in enumerate(read["offset_mapping"]) if len(called) <= start < end]
            closing = [i for i in own if read["input_ids"][i] in self.special and read["offset_mapping"][i][0] >= said]
            if closing:
                run = takewhile(lambda i: read["input_ids"][i] in self.special, range(closing[0], own[-1] + 1))
                own = [*range(own[0], closing[0]), *run]
            found += own
        return found

    @cached_property
    def frame(self) -> Frame:
        """What the chat template writes around an answer."""
        return frame(self.tokenizer)

    @cached_property
    def special(self) -> frozenset[int]:
        """Tokens that stand for no text."""
        return special_tokens(self.tokenizer)

    def _called(self, turns: Sequence[Turn]) -> str:
        """The turns up to where the assistant's answer begins."""
        return rendered(self.tokenizer, turns, call=True) + self.frame.before

    def checked(self, ids: Ids) -> Ids:
        """The ids. Raises UserError where the model's embeddings lack one."""
        if self.rows is not None and ids and max(ids) >= self.rows:
            raise UserError(outside(self.tokenizer, max(ids), self.rows, "a text has the token"))
        return ids

    def _opened(self, ids: Ids) -> Ids:
        """Once: a template of the data may write all of it itself, or its beginning."""
        there = next(n for n in range(len(self.opening), -1, -1) if ids[:n] == self.opening[:n])
        return self.opening + ids[there:]

    def _bare(self, text: str) -> Ids:
        return tuple(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _behind(self, prompt: Ids, joined: Ids, text: str) -> Ids:
        if joined[: len(prompt)] == prompt:
            return joined[len(prompt) :]
        anchor, anchored = self._bare(ANCHOR), self._bare(ANCHOR + text)
        return anchored[len(anchor) :] if anchored[: len(anchor)] == anchor else self._bare(text)


def opening(tokenizer: PreTrainedTokenizerBase) -> Ids:
    """The tokens that a tokenizer puts in front of every text, such as BOS."""
    # Any text will do of which there are tokens: not every vocabulary has letters.
    known = special_tokens(tokenizer)
    words = (tokenizer.decode([number]) for number in range(len(tokenizer)) if number not in known)
    read = ((text, tokenizer(text, add_special_tokens=False)["input_ids"]) for text in chain(["a"], words))
    text, bare = next(((text, ids) for text, ids in read if ids), ("", []))
    whole: list[int] = tokenizer(text)["input_ids"]
    starts = [i for i in range(len(whole)) if whole[i : i + len(bare)] == bare]
    return tuple(whole[: starts[0]]) if starts else ()


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
