"""What a model knew before: a panel of tiny instructions, and general English text.

Both are scored with the untouched model and again after fine-tuning; the difference is what was forgotten.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from harness.errors import UserError, first_line
from harness.settings import Settings
from harness.texts import first_with_text, from_yaml

EMBEDDED = "embedded"
Judge = Literal["words", "label", "number"]
"""When an answer is right: an accepted answer occurs in it as whole words; that, and no other label of the task does;
its first number is an accepted answer."""
Answer = Annotated[str, Field(pattern=r"\w")]


@dataclass(frozen=True)
class PanelItem:
    """One instruction of a panel."""

    task: str
    """What it asks for, such as `sum`; results are also told task by task."""
    prompt: str
    """The instruction alone, without any chat template."""
    answers: tuple[str, ...]
    """Accepted answers."""
    judge: Judge = "words"
    others: tuple[str, ...] = ()
    """For a label, the other labels of the task."""


class _Item(Settings):
    """An instruction in a panel's file."""

    prompt: Annotated[str, Field(min_length=1)]
    answers: Annotated[list[Answer], Field(min_length=1)]


class _Task(Settings):
    """A task in a panel's file."""

    judge: Judge
    items: Annotated[list[_Item], Field(min_length=1)]


@functools.cache
def load_panel(panel: str) -> tuple[PanelItem, ...]:
    """The items of the embedded panel, or of the YAML file at a path, task by task.

    Raises UserError with a line for each thing that is wrong with the file.
    """
    name = f"forgetting.panel={panel}"
    try:
        text = _asset("panel.yaml") if panel == EMBEDDED else Path(panel).read_text(encoding="utf-8")
        content = from_yaml(text, name)
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; use embedded, or a YAML file's path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: cannot be read as UTF-8 text ({first_line(error)})") from None
    if not isinstance(content, dict) or not content:
        raise UserError(
            f"{name}: has no tasks; write one as TASK: {{judge: words, items: [{{prompt: …, answers: […]}}]}}"
        )
    try:
        tasks = TypeAdapter(dict[str, _Task]).validate_python(content, strict=True)
    except ValidationError as error:
        raise UserError(*(f"{name}: {_place(each['loc'])}: {_said(each)}" for each in error.errors())) from None
    if "all" in tasks:
        raise UserError(f"{name}: all: results call all tasks together so; give the task another name")
    return tuple(item for task, rows in tasks.items() for item in _items(task, rows))


def _items(task: str, part: _Task) -> list[PanelItem]:
    """The items of one task."""
    labels = dict.fromkeys(answer for item in part.items for answer in item.answers) if part.judge == "label" else {}
    items = []
    for item in part.items:
        accepted = [_words(answer) for answer in item.answers]
        # "entailment" stands in "not entailment", where it is not the other label.
        others = (label for label in labels if not any(_contains(answer, _words(label)) for answer in accepted))
        items.append(PanelItem(task, item.prompt, tuple(item.answers), part.judge, tuple(others)))
    return items


def _place(parts: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in parts if part != "[key]")


def _said(problem: object) -> str:
    """What pydantic found, and the remedy."""
    assert isinstance(problem, dict)
    remedies = {
        "string_type": "put it in quotes",
        "extra_forbidden": "a task has judge and items, an item prompt and answers",
        "missing": "add it",
        "too_short": "add one",
        "string_too_short": "write one",
        "string_pattern_mismatch": "an answer has a letter or a digit",
        "string_unicode": "correct the text",
    }
    message = str(problem["msg"]).removeprefix("Value error, ")
    remedy = remedies.get(str(problem["type"]))
    return f"{message[0].lower()}{message[1:]}" + (f"; {remedy}" if remedy else "")


def general_text() -> str:
    """About 1,500 words of general English prose, paragraphs separated by blank lines."""
    return _asset("general.txt")


def articles(text: str) -> list[str]:
    """WikiText cut before each line ` = Title = ` (a section's has more signs); together the pieces are the text."""
    starts = [match.start() for match in re.finditer(r"^ = [^=\n].* = *$", text, re.M)]
    cuts = [0, *(start for start in starts if start > 0), len(text)]
    return [text[begin:end] for begin, end in pairwise(cuts) if end > begin]


def correct(item: PanelItem, output: str) -> bool:
    """Whether `output` answers `item`.

    Only the first line that is not blank counts, without case and punctuation. For a number, the first one must be the
    answer, where an echo of the question ("2 + 2 = 4") is passed over. Otherwise an accepted answer must occur as whole
    words, and no other label of the task must.
    """
    line = first_with_text(output)
    if item.judge == "number":
        question = re.search(r"(\d+) \+ (\d+)", item.prompt)
        if question:
            line = re.sub(rf"(?<!\d){question[1]} ?\+ ?{question[2]}(?!\d)", "", line, count=1)
        number = re.search(r"-?\d+(?:[.,]\d+)*", line)
        return number is not None and number[0] in item.answers
    words = _words(line)
    if any(_contains(words, _words(other)) for other in item.others):
        return False
    return any(_contains(words, _words(answer)) for answer in item.answers)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _contains(words: list[str], part: list[str]) -> bool:
    return any(words[start : start + len(part)] == part for start in range(len(words) - len(part) + 1))


def _asset(name: str) -> str:
    return files("harness.data").joinpath("assets", name).read_text(encoding="utf-8")
