"""Examples of a task as token ids: in its template and the model's chat template, cut where they are too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.data import Example, Source
from harness.data.chats import Chats
from harness.errors import UserError
from harness.prepare.batch import Encoded
from harness.prepare.chat import Turn, turn
from harness.prepare.tokens import Ids, Texts, end_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Prompt:
    """Token ids of the text before an answer."""

    ids: tuple[int, ...]
    cut: bool
    """Text was left out, so that it fits."""


class Encoder:
    """Turns examples of a task into token ids. Raises UserError where a text is longer than it may be."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        source: Source,
        max_length: int,
        context: int,
        starts: Ids = (),
        rows: int | None = None,
    ) -> None:
        """`starts`: of a sequence-to-sequence model the token that its decoder starts from, and the one that its
        settings put behind it, if they do; none for others. `rows`: tokens that the model's embeddings have; None: not
        known."""
        self.texts = Texts(tokenizer, rows)
        self.tokenizer = tokenizer
        self.source = source
        self.max_length = max_length
        self.context = context
        self.starts = starts

    def prompt(self, example: Example, room: int, shots: Sequence[Example] = ()) -> list[int]:
        """As `fit`: the ids alone."""
        return list(self.fit(example, room, shots).ids)

    def fit(self, example: Example, room: int, shots: Sequence[Example] = ()) -> Prompt:
        """The prompt behind the solved examples `shots`, with room for an answer of `room` tokens where that follows it
        in the model's context: a causal model's does."""
        room = room if self._causal(example) else 0
        encoded = self._cut(example, self.context - room, shots)
        if len(encoded.ids) + room > self.context:
            remedy = "lower method.shots" if shots else "shorten it, set data.truncate"
            raise UserError(
                f"a prompt of {len(encoded.ids)} tokens with room for {room} more does not fit the model's context of "
                f"{self.context} tokens: {example.source[:60]!r}…; {remedy}, or lower eval.max_new_tokens"
            )
        return encoded

    def pair(self, example: Example, reference: str) -> Encoded:
        """An example with one of its references, to train or validate on."""
        source = self.source.of(example)
        limit = min(self.max_length, self.context)
        if source.plain:
            encoded = self._plain(source, reference, limit)
        elif source.head_classes is not None:
            prompt = self._cut(example, limit)
            encoded = Encoded(prompt.ids, label=source.head_classes.index(reference), cut=prompt.cut)
        elif self.starts:
            prompt = self._cut(example, limit)
            completion, cut = _shortened(self._ended(reference), limit - len(self.starts), source)
            encoded = Encoded(prompt.ids, answer=(*self.starts, *completion), cut=prompt.cut or cut, shortened=cut)
        elif example.turns:
            encoded = self._conversation(example, reference, limit)
        else:
            whole = self._asked(example)
            # Where both do not fit, an answer may keep half of the room.
            room = max(limit - len(whole), limit // 2)
            completion, cut = _shortened(self._completion(example, whole, reference), room, source)
            fits = len(whole) + len(completion) <= limit
            prompt = Prompt(whole, False) if fits else self._cut(example, limit - len(completion))
            if len(prompt.ids) + 1 > self.context:
                self.fit(example, 1)  # says so
            ids, begins = (*prompt.ids, *completion), len(prompt.ids)
            encoded = Encoded(ids, scored_from=begins, cut=prompt.cut or cut, shortened=cut)
        if (longest := max(len(encoded.ids), len(encoded.answer))) > limit:
            raise UserError(
                f"an example of {longest} tokens is longer than {limit}: {example.source[:60]!r}…; raise "
                f"train.max_length (the model's context is {self.context}), set data.truncate, or remove the example"
            )
        return encoded

    def candidates(self, example: Example, shots: Sequence[Example] = ()) -> tuple[list[Encoded], bool]:
        """The example with each of its task's classes as the answer, without the end token, and whether text was left
        out. Raises UserError where one class's tokens begin another's, so that their likelihoods cannot be compared."""
        source = self.source.of(example)
        classes = source.classes or ()
        if self._causal(example):
            whole = self._asked(example, shots)
            answers = [self._completion(example, whole, each, shots, ended=False) for each in classes]
        else:
            answers = [self._ended(each)[:-1] for each in classes]
        for i, one in enumerate(answers):
            for j, other in enumerate(answers):
                if i != j and other[: len(one)] == one:
                    raise UserError(f"data.verbalizer: {classes[i]!r} begins {classes[j]!r}; choose other words")
        prompt = self.fit(example, max(map(len, answers)), shots)
        if self.starts:
            return [Encoded(prompt.ids, answer=(*self.starts, *each)) for each in answers], prompt.cut
        return [Encoded((*prompt.ids, *each), scored_from=len(prompt.ids)) for each in answers], prompt.cut

    def _causal(self, example: Example) -> bool:
        """The answer goes on from the prompt; otherwise the model reads a whole text first."""
        return not self.starts and self.source.of(example).head_classes is None

    def _lead(self, example: Example) -> str:
        """What stands between prompt and answer."""
        source = self.source.of(example)
        if source.boundary is not None:
            return source.boundary
        return "" if source.chat or source.render(example)[-1:].isspace() else " "

    def _cut(self, example: Example, limit: int, shots: Sequence[Example] = ()) -> Prompt:
        """The prompt; where it is longer than `limit`, without text of the example on the side that the task names."""
        source = self.source.of(example)
        text = source.render(example)
        ids = self._asked(example, shots)
        if len(ids) <= limit or source.truncate == "error":
            return Prompt(ids, False)
        if example.turns:
            return self._later_turns(example, limit, shots)
        fits, longer = 0, len(text)
        while longer - fits > 1:  # the most characters with which the prompt fits
            middle = (fits + longer) // 2
            short = len(self._encoded(example, _kept(text, middle, source.truncate), shots)) <= limit
            fits, longer = (middle, longer) if short else (fits, middle)
        return Prompt(self._encoded(example, _kept(text, fits, source.truncate), shots), True)

    def _later_turns(self, example: Example, limit: int, shots: Sequence[Example]) -> Prompt:
        """The prompt of a conversation that is too long, without as many of its first exchanges as it must lose."""
        turns = _asking(example, "")
        while True:
            example = replace(example, turns=tuple((each["role"], each["content"]) for each in turns))
            ids = self._asked(example, shots)
            if len(ids) <= limit or not (turns := _later(turns)):
                return Prompt(ids, True)

    def _asked(self, example: Example, shots: Sequence[Example] = ()) -> Ids:
        """The whole prompt. Raises UserError where it has no token, as white space may have none."""
        text = self.source.of(example).render(example)
        if not (ids := self._encoded(example, text, shots)):
            place = f"{example.place}: " if example.place else ""
            raise UserError(f"{place}the prompt {text!r} has no tokens; fill in the input or remove the row")
        return ids

    def _encoded(self, example: Example, text: str, shots: Sequence[Example]) -> Ids:
        source = self.source.of(example)
        if source.chat:
            return self.texts.chat(_turns(source, example, text, shots))
        whole = self._before(source, shots) + text
        # An encoder reads a whole text, with the tokens that mark its ends; a causal model goes on with it.
        return (
            self.texts.ids(whole)
            if self._causal(example)
            else self.texts.checked(tuple(self.tokenizer(whole)["input_ids"]))
        )

    def _before(self, source: Source, shots: Sequence[Example]) -> str:
        """Solved examples in front of a text."""
        return "".join(f"{source.render(shot)}{self._lead(shot)}{shot.references[0]}\n\n" for shot in shots)

    def _completion(
        self, example: Example, prompt: Ids, reference: str, shots: Sequence[Example] = (), ended: bool = True
    ) -> Ids:
        """What a causal model is to answer behind the whole prompt, of these ids; `ended`: with the token that ends
        it."""
        source = self.source.of(example)
        text = source.render(example)
        if source.chat:
            return self.texts.answer(_turns(source, example, text, shots), prompt, reference, ended)
        before = self._before(source, shots) + text
        ids = self.texts.following(before, prompt, self._lead(example) + reference)
        return (*ids, end_of(self.tokenizer)) if ended else ids

    def _conversation(self, example: Example, reference: str, limit: int) -> Encoded:
        """A conversation, in which what the assistant says counts."""
        source = self.source.of(example)
        assert isinstance(source, Chats)
        turns, cut = [*_asking(example, ""), turn("assistant", reference)], False
        lost = False
        ids, own = self.texts.conversation(turns, source.loss == "all")
        while len(ids) > limit and source.truncate == "left" and (shorter := _later(turns)):
            turns, cut, lost = shorter, True, source.loss == "all"
            ids, own = self.texts.conversation(turns, source.loss == "all")
        if len(ids) > limit and source.truncate == "right":
            ids, own, cut, lost = ids[:limit], [i for i in own if i < limit], True, True
        if not own:
            raise UserError(
                f"{example.place}: nothing of the conversation is trained on, since the assistant says nothing in its "
                f"first {limit} tokens; raise train.max_length, or remove it"
            )
        gaps = tuple((a + 1, b) for a, b in pairwise([*own, len(ids)]) if b > a + 1)
        return Encoded(ids, scored_from=own[0], skipped=gaps, cut=cut, shortened=lost)

    def _ended(self, reference: str) -> Ids:
        """The same of a decoder, which starts anew."""
        ids = self.tokenizer(reference, add_special_tokens=False)["input_ids"]
        return (*self.texts.checked(tuple(ids)), end_of(self.tokenizer))

    def _plain(self, source: Source, text: str, limit: int) -> Encoded:
        """A text whose tokens all count, but for those that the tokenizer puts in front, or else the first."""
        if self.starts:
            raise UserError(f"data={source.name}: language modelling needs a causal model; choose one")
        ids, opening = self.texts.ids(text), len(self.texts.opening)
        cut = len(ids) > limit and source.truncate != "error"
        if cut:
            ids = ids[:limit] if source.truncate == "right" else ids[:opening] + ids[len(ids) - limit + opening :]
        return Encoded(ids, scored_from=max(opening, 1), cut=cut, shortened=cut)


def _shortened(ids: Ids, limit: int, source: Source) -> tuple[Ids, bool]:
    """An answer, cut at its end where it has over `limit` tokens and the task lets it be; and whether it was."""
    if len(ids) <= limit or source.truncate == "error":
        return ids, False
    return ids[:limit], True


def _kept(text: str, count: int, side: str) -> str:
    """`count` characters of a text that loses the others on one side."""
    return text[len(text) - count :] if side == "left" else text[:count]


def _later(turns: Sequence[Turn]) -> list[Turn]:
    """A conversation without its first exchange; empty where it has only one."""
    opening = [each for each in turns if each["role"] == "system"]
    rest = [each for each in turns if each["role"] != "system"][2:]
    return [*opening, *rest] if rest else []


def _turns(source: Source, example: Example, text: str, shots: Sequence[Example]) -> list[Turn]:
    """The turns before the answer, behind those of solved examples, whose system's turns are left out."""
    asked = _asking(example, text)
    opening = [each for each in asked if each["role"] == "system"]
    solved = [
        each
        for shot in shots
        for each in (*_asking(shot, source.render(shot)), turn("assistant", shot.references[0]))
        if each["role"] != "system"
    ]
    return [*opening, *solved, *(each for each in asked if each["role"] != "system")]


def _asking(example: Example, text: str) -> list[Turn]:
    """The turns of a conversation before its answer; of other examples the text, as the user's."""
    return [turn(role, said) for role, said in example.turns] if example.turns else [turn("user", text)]
