"""Conversations: turns of roles, in the forms of OpenAI (`messages`) and ShareGPT (`conversations`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from harness.data import Example, Splits, Templates
from harness.data.splits import division, splits_of
from harness.data.stored import Stored, UnfitRow
from harness.data.tables import Row
from harness.errors import UserError, nearest
from harness.settings import Name
from harness.texts import refuse_half_pairs

COLUMNS = ("messages", "conversations")
ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}
"""What files call a role, and what chat templates do."""
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""What files call a train of thought that stands beside a turn's content."""
TOOLS = ("tools", "functions")
"""What files call the tools that a row offers: today, and before OpenAI renamed them."""
NOTHING: tuple[Any, ...] = (None, "", "[]", "null", [], {})
"""What a cell says that says nothing: files of columns have each in every row, some as JSON in a text."""
Turns = tuple[tuple[str, str], ...]
"""Role and text of each."""


class Chats(Stored):
    """Conversations of a system's turn, if any, and of user and assistant in turn, which the model's chat template
    writes. What is trained on are the assistant's turns; the last of them is the answer that a test example asks for.
    """

    chat: bool = True
    prompt: Templates = ""
    """Not used: the chat template writes the turns."""
    column: Name | None
    """Of the turns; None: the first of `COLUMNS` that a row has."""
    loss: Literal["all", "last"]
    """Which of the assistant's turns are trained on."""
    system: str | None = Field(default=None)
    """The system's turn of conversations that have none."""

    def problems(self) -> list[str]:
        return [line for line in super().problems() if not line.startswith("data.prompt: is empty")]

    def outcome(self) -> dict[str, Any]:
        return super().outcome() | {"loss": self.loss} | division(self.path, self.shares, self.seed)

    def render(self, example: Example) -> str:
        return example.source

    def learned(self, example: Example) -> tuple[str, ...]:
        before = [text for role, text in example.turns if role == "assistant"] if self.loss == "all" else []
        return (*before, *super().learned(example))

    def load(self) -> Splits:
        tables, names, key = self.tables()
        examples = {name: self.fit(name, rows, self._example) for name, rows in tables.items()}
        return splits_of(examples, names, self.shares, self.seed, key)

    def _example(self, row: Row, place: str) -> tuple[str, Example]:
        """What a conversation's prompt is known by, and its example. Raises UserError."""
        turns = checked(read_turns(row, self.column, place), place)
        if self.system is not None and turns[0][0] != "system":
            turns = (("system", self.system), *turns)
        *before, (_, answer) = turns
        source = "\n".join(f"{role}: {text}" for role, text in before)
        return source, Example(source, (answer,), place=place, turns=tuple(before))


def read_turns(row: Row, column: str | None, place: str) -> list[tuple[str, str]]:
    """The turns that a row has, their roles as the file calls them. Raises UserError without them, UnfitRow."""
    named = column or next((each for each in COLUMNS if each in row), None)
    if named is None or named not in row:
        wanted = column or " or ".join(COLUMNS)
        raise UserError(f"{place}: has no column {wanted}; {nearest(column or COLUMNS[0], list(row))} (data.column)")
    turns = row[named]
    if offered := next((name for name in TOOLS if row.get(name) not in NOTHING), None):
        raise UnfitRow(f"{place}: offers {offered}, which the prompt would lack; remove them, or the conversation")
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        raise UnfitRow(f"{place}: {named} is no list of turns; write [{{role: user, content: …}}, …]")
    return [_turn(turn, f"{place}, turn {number}") for number, turn in enumerate(turns, 1)]


def _turn(turn: Any, place: str) -> tuple[str, str]:
    """Role and text of a turn. Raises UnfitRow."""
    if not isinstance(turn, dict):
        raise UnfitRow(f"{place}: is no object; write {{role: user, content: …}}")
    if turn.get("tool_calls") or turn.get("function_call"):
        raise UnfitRow(f"{place}: calls a tool, which is not trained on; remove the conversation")
    if turn.get("weight") not in (*NOTHING, 1):
        raise UnfitRow(
            f"{place}: has the weight {turn['weight']}, where turns count alike (data.loss); leave weights out"
        )
    if thought := next((name for name in THOUGHTS if turn.get(name)), None):
        raise UnfitRow(f"{place}: has {thought}, which is not read; put it into the content, or remove it")
    role, content = turn.get("role") or turn.get("from"), turn.get("content", turn.get("value"))
    if isinstance(content, list):
        kinds = [part.get("type") if isinstance(part, dict) else None for part in content]
        if other := [kind for kind in kinds if kind != "text"]:
            raise UnfitRow(f"{place}: has a part of the type {other[0]}; only text is read, so remove it")
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str | None):
        raise UnfitRow(f"{place}: its content is no text but {type(content).__name__}; give it a text")
    if not content or not content.strip():
        raise UnfitRow(f"{place}: is empty; give it a text, or remove the conversation")
    refuse_half_pairs(content, place)
    return str(role), content


def checked(turns: Sequence[tuple[str, str]], place: str) -> Turns:
    """The turns by the names of chat templates: a system's first, if any, then user and assistant in turn, ending with
    an answer. Raises UnfitRow."""
    known: list[tuple[str, str]] = []
    for number, (role, text) in enumerate(turns, 1):
        where = f"{place}, turn {number}"
        if role not in ROLES:
            raise UnfitRow(f"{where}: has the role {role}; known are {', '.join(ROLES)}")
        role = ROLES[role]
        before = known[-1][0] if known else None
        if role == "system" and before is not None:
            raise UnfitRow(f"{where}: a system's turn comes first, or not at all")
        if role == before:
            raise UnfitRow(f"{where}: two turns of the {role} follow one another; join them")
        if role == "assistant" and before in (None, "system"):
            raise UnfitRow(f"{where}: the assistant answers nobody; let the user begin")
        known.append((role, text))
    if known[-1][0] != "assistant":
        raise UnfitRow(f"{place}: ends with a turn of the {known[-1][0]}, so that there is no answer to train on")
    return tuple(known)
