"""Where examples come from: one file a source. Imports no torch."""

from __future__ import annotations

import functools
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from harness.results import hash_of
from harness.settings import Settings


@dataclass(frozen=True)
class Example:
    """One input with its accepted outputs."""

    source: str
    """The input, for E2E-form data a meaning representation (MR)."""
    references: tuple[str, ...]
    """One or more accepted outputs."""


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

    name: str
    prompt: str
    """Jinja template of the text before the completion; `source` is the example's input."""

    classes: tuple[str, ...] | None = Field(default=None, strict=False)
    """The answers are these classes, told apart by a classification head; None: they are texts."""

    metrics: tuple[str, ...] = Field(strict=False)
    """The families of `harness.metrics` that score answers which are texts."""

    @abstractmethod
    def load(self) -> Splits:
        """The examples. Raises UserError that names the file and the line."""

    def render(self, example: Example) -> str:
        """The text that the model completes."""
        text: str = _template(self.prompt).render(source=example.source)
        return text


@functools.cache
def load(source: Source) -> tuple[Splits, str]:
    """The examples of a source and the SHA-256 of their content, read once a process."""
    splits = source.load()
    content = [[[e.source, *e.references] for e in split] for split in (splits.train, splits.validation, splits.test)]
    return splits, hash_of(content)


@functools.cache
def _template(text: str):  # type: ignore[no-untyped-def]  # jinja2 is imported only when a prompt is rendered
    from jinja2 import Environment, StrictUndefined

    return Environment(undefined=StrictUndefined, autoescape=False).from_string(text)
