"""Tasks made of rows of a table by templates: one class serves most data sets, each with a file in conf/data/."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import Field, model_validator

from harness.data import Example, Splits, filled
from harness.data.splits import division, splits_of
from harness.data.stored import Stored, UnfitRow
from harness.data.tables import Row
from harness.errors import UserError, nearest
from harness.texts import refuse_half_pairs

SEPARATOR = "|||"
"""Stands between several references in a rendered answer."""


class Rows(Stored):
    """Rows of files in a folder, or of a data set of the hub, with templates of their columns for prompt and answer.

    In templates each column goes by its name; `row` is the whole row, for names with spaces: `row['#1 String']`.
    """

    columns: tuple[str, ...] | None = Field(strict=False)
    """Names of the columns of csv and tsv files that have no line of them."""
    answer: str
    """Jinja template of the answer; several references are set apart by `|||`."""
    head_prompt: str | None
    """Template of the text that a classification head reads; None: as `prompt`."""
    verbalizer: dict[str, str] | None
    """By the rendered answer (a label): the class. Their order is that of the classes."""

    @model_validator(mode="before")
    @classmethod
    def _classes_of_the_verbalizer(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("verbalizer"), dict):
            return values
        verbalizer = {str(label): text for label, text in values["verbalizer"].items()}  # YAML reads 0 and True as such
        return values | {"verbalizer": verbalizer, "classes": list(dict.fromkeys(verbalizer.values()))}

    def problems(self) -> list[str]:
        lines = super().problems()
        if self.head and self.classes is None:
            lines.append("data.head=true: there are no classes; give data.verbalizer={label: text, …}, or head=false")
        return lines

    @property
    def templates(self) -> tuple[str, ...]:
        """The templates of the prompt."""
        if self.head and self.head_prompt is not None:
            return (self.head_prompt,)
        return (self.prompt,) if isinstance(self.prompt, str) else self.prompt

    def outcome(self) -> dict[str, Any]:
        return super().outcome() | division(self.path, self.shares, self.seed)

    def render(self, example: Example) -> str:
        return example.source

    def load(self) -> Splits:
        tables, names, key = self.tables(self.columns)
        examples = {name: self._rendered(name, rows) for name, rows in tables.items()}
        return splits_of(examples, names, self.shares, self.seed, key)

    def _rendered(self, name: str, rows: Sequence[Row]) -> list[tuple[str, Example]]:
        """Each input, as the first template gives it, with its example.

        Rows with the same input are one example with all their references, unless the answers are classes.
        """
        first = self.templates[0]
        texts: dict[str, str] = {}
        places: dict[str, str] = {}
        references: dict[str, list[str]] = {}
        examples = []

        def read(row: Row, place: str) -> tuple[Row, str, str, list[str]]:
            return row, place, self._text(first, "data.prompt", row, place), self._answers(row, place)

        for row, place, identity, answers in self.fit(name, rows, read):
            places.setdefault(identity, place)
            if identity not in texts:
                drawn = self.drawn(identity) if self.templates != (first,) else first
                texts[identity] = identity if drawn == first else self._text(drawn, "data.prompt", row, place)
            if self.classes is not None:
                examples.append((identity, Example(texts[identity], tuple(answers), place=place)))
            references.setdefault(identity, []).extend(answers)
        if self.classes is not None:
            return examples
        return [
            (each, Example(texts[each], tuple(answers), place=places[each])) for each, answers in references.items()
        ]

    def _answers(self, row: Row, place: str) -> list[str]:
        rendered = self._text(self.answer, "data.answer", row, place)
        answers = [part.strip() for part in rendered.split(SEPARATOR) if part.strip()]
        if not answers:
            raise UnfitRow(f"{place}: data.answer gives no text; fill in the answer or remove the row")
        if self.classes is None:
            return answers
        known = self.verbalizer if self.verbalizer is not None else {each: each for each in self.classes}
        for answer in answers:
            if answer not in known:
                have = ", ".join(known)
                raise UserError(
                    f"{place}: the label {answer!r} is not in data.verbalizer ({have}); add it, or name another split"
                )
        return [known[answer] for answer in answers]

    def _text(self, text: str, setting: str, row: Row, place: str) -> str:
        from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError

        try:
            rendered = filled(text, row, row=row)
        except UndefinedError as error:
            undefined = re.fullmatch(r"'([^']+)' is undefined", str(error))
            where = f"{setting}: uses {{{{ {undefined[1]} }}}}" if undefined else f"{setting}: {error}"
            remedy = nearest(undefined[1] if undefined else "", list(row))
            raise UserError(f"{where}, which {place} does not have; {remedy}") from None
        except TemplateSyntaxError as error:
            raise UserError(f"{setting}: is not a Jinja template ({error}); correct it") from None
        except TemplateError as error:
            raise UserError(f"{setting}: cannot be filled with {place} ({error}); correct the template") from None
        if not rendered and setting == "data.prompt":
            raise UserError(f"{place}: data.prompt gives no text; fill in the input or remove the row")
        refuse_half_pairs(rendered, f"{place}: {setting}")
        return rendered
