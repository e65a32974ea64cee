"""Where examples come from: one file a source. Imports no torch."""

from __future__ import annotations

import functools
import random
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from harness.errors import UserError, first_line, nearest
from harness.files import hash_of
from harness.host.own_code import own_code
from harness.limits import little
from harness.metrics import families
from harness.metrics.tools.java import FAMILIES as JAVA
from harness.metrics.tools.java import java_found
from harness.places import extend
from harness.settings import Name, Settings
from harness.texts import missing, refuse_half_pairs

extend("data", __path__)

OUTCOME = ("boundary", "classes", "head", "metrics", "multiline", "stop", "truncate", "chat", "template_seed")
"""Settings of a source that can change a run's outcome, besides its prompt and its content."""


Templates = str | Annotated[tuple[str, ...], Field(strict=False)]
"""A Jinja template, or several."""


@dataclass(frozen=True)
class Example:
    """One input with its accepted outputs."""

    source: str
    """The input, for E2E-form data a meaning representation (MR)."""
    references: tuple[str, ...]
    """One or more accepted outputs."""
    task: str = ""
    """Which task of a mixture it belongs to; empty elsewhere."""
    turns: tuple[tuple[str, str], ...] = ()
    """Role and text of the turns before the answer, of a conversation; empty elsewhere."""
    place: str = field(default="", compare=False)
    """File and row that it was read from, for messages; empty where there is no file."""


@dataclass(frozen=True)
class Splits:
    """Examples by split, disjoint in `source`."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]


class Source(Settings):
    """A task: a data set with its prompt."""

    mr_form: ClassVar[bool] = False
    """Sources are meaning representations in the E2E form, so that slots can be counted."""
    plain: ClassVar[bool] = False
    """Examples are texts without a prompt, trained and scored on the likelihood of their tokens."""

    name: Name
    prompt: Templates
    """Jinja template of the text before the completion (`source` is the example's input), or several, of which one is
    drawn for each example."""
    template_seed: int = 0
    """Draws the template, where there are several."""

    classes: tuple[str, ...] | None = Field(default=None, strict=False)
    """The answers are these classes; None: they are texts."""
    head: bool = True
    """Classes are predicted by a classification head; False: by the likelihood of each as the answer's text."""
    metrics: tuple[str, ...] = Field(strict=False)
    """The families of `harness.metrics` that score the answers."""
    multiline: bool = False
    """An answer may have several lines; False: only the first line with text counts."""
    stop: tuple[str, ...] = Field(default=(), strict=False)
    """An answer ends where one of these texts begins."""
    truncate: Literal["error", "left", "right"] = "error"
    """Where an input that is too long loses text: at its start (left) or its end (right); error: it is refused."""
    chat: bool = False
    """The prompt is put to the model as a user's turn of its chat template."""

    boundary: str | None = None
    """Text between prompt and answer; None: a space, unless the prompt ends in white space. A chat template has its
    own."""

    @abstractmethod
    def load(self) -> Splits:
        """The examples. Raises UserError that names the file and the line."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def head_classes(self) -> tuple[str, ...] | None:
        """The classes of the classification head that the task needs; None where the model answers with text."""
        return self.classes if self.head else None

    def render(self, example: Example) -> str:
        """The text that the model completes."""
        text = filled(self.drawn(example.source), source=example.source)
        return text

    def drawn(self, source: str) -> str:
        """The template of this input: the same in every run, whatever the other inputs are."""
        if isinstance(self.prompt, str):
            return self.prompt
        return random.Random(f"template {self.template_seed} {source}").choice(self.prompt)

    def of(self, example: Example) -> Source:
        """The task that the example belongs to: this one, or one of a mixture's."""
        return self

    def learned(self, example: Example) -> tuple[str, ...]:
        """The texts whose tokens count in the loss of the example with its first reference."""
        return (example.references[0],)

    def families(self) -> set[str]:
        """The families of scores that a run of it asks for."""
        return set(self.metrics)

    def means(self) -> tuple[str, ...]:
        """Scores of a mixture whose mean over its tasks is a score too; empty elsewhere."""
        return ()

    def weights(self) -> dict[str, float]:
        """By task of a mixture, its share of the training examples; empty elsewhere."""
        return {}

    def problems(self) -> list[str]:
        """Settings that contradict each other, a line each."""
        lines = []
        if not self.prompt and not self.plain:
            lines.append("data.prompt: is empty; give a Jinja template")
        if unknown := [name for name in self.metrics if name not in families()]:
            lines.append(f"data.metrics: there is no {unknown[0]}; {nearest(unknown[0], families())}")
        if self.boundary is not None and (self.chat or self.head_classes is not None):
            lines.append("data.boundary: is of a text that goes on; leave it out with data.chat=true or data.head=true")
        if self.chat and self.head_classes is not None:
            lines.append("data.chat=true: a classification head reads plain text; use data.head=false, or chat=false")
        return lines

    def outcome(self) -> dict[str, Any]:
        """What can change a run's outcome besides the examples: a part of its key."""
        known = {"name": self.name, "prompt": self.prompt} | self.model_dump(
            mode="json", include=set(OUTCOME), exclude_defaults=True
        )
        if own := own_code([type(self).__module__, *(f"harness.metrics.{name}" for name in self.metrics)]):
            known["own_code"] = own
        # What is scored without Java is scored again, once there is one.
        return known if java_found() or not set(JAVA) & set(self.metrics) else known | {"java": False}


@functools.cache
def load(source: Source) -> tuple[Splits, str]:
    """The examples of a source and the SHA-256 of their content, read once a process. Raises UserError."""
    splits = source.load()
    refuse_empty_prompts(source, splits)
    content = [
        [[e.source, *e.references, *_besides(e)] for e in split]
        for split in (splits.train, splits.validation, splits.test)
    ]
    return splits, hash_of(content)


def _besides(example: Example) -> list[dict[str, Any]]:
    """What an example is known by besides its texts."""
    named = {"task": example.task, "turns": example.turns}
    return [{name: value} for name, value in named.items() if value]


def refuse_empty_prompts(source: Source, splits: Splits) -> None:
    """Raise UserError where an example's prompt has no text: a model has nothing to go on from. White space is text."""
    from jinja2 import TemplateError

    for split in ("train", "validation", "test"):
        for number, example in enumerate(getattr(splits, split), 1):
            if (task := source.of(example)).plain:
                continue
            place = example.place or f"{split}, example {number}"
            try:
                text = task.render(example)
            except TemplateError as error:
                raise UserError(
                    f"data.prompt: {first_line(error)}; write a Jinja template of {{{{ source }}}}"
                ) from None
            if not text:
                raise UserError(f"{place}: data.prompt gives no text; fill in the input or remove the row")
            refuse_half_pairs(text, f"{place}: data.prompt")


def filled(text: str, *values: Any, **named: Any) -> str:
    """A template filled in. Raises jinja2's TemplateError, whatever goes wrong in it."""
    from jinja2 import TemplateError, TemplateRuntimeError

    try:
        with little():
            rendered: str = template(text).render(*values, **named)
    except TemplateError:
        raise
    except Exception as error:  # a template is a program, which may fail in any way
        raise TemplateRuntimeError(first_line(error) or type(error).__name__) from None
    return rendered


@functools.cache
def template(text: str):  # type: ignore[no-untyped-def]  # jinja2 is imported only when a prompt is rendered
    """A Jinja template in which a name that is not given is an error, and what is missing is an empty text (`is none`
    holds for it). It may come from someone else's run folder, so that it reaches no attribute from which code can be
    run. Raises jinja2's TemplateError."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, finalize=_written)
    environment.tests["none"] = lambda value: value is None or value == ""
    return environment.from_string(text)


def _written(value: Any) -> Any:
    """What a template writes of a value. Raises jinja2's TemplateRuntimeError for a method, which as a text would be
    another one in each process."""
    from jinja2 import TemplateRuntimeError, Undefined

    if callable(value) and not isinstance(value, Undefined):
        name = getattr(value, "__name__", "it")
        raise TemplateRuntimeError(f"{name} is a method; call it: {name}(), or take the part ['{name}']")
    return "" if missing(value) else value
