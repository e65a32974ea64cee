"""Text as it comes from a user's files: where its lines end, what counts as missing, what is no text. Knows nothing of
the rest of the project but its errors."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import UserError, first_line

UTF8 = "utf-8-sig"
"""UTF-8 with or without a byte order mark."""
_HELD = "\udc0d"
"""Stands for a carriage return that ends no line, while a table is read: no text that was decoded has it."""


def lines(text: str) -> list[str]:
    r"""The lines of a text, each ended by `\n` or `\r\n`, the last one perhaps not. A carriage return alone, a form
    feed, U+2028 and others at which `str.splitlines` cuts are within a line."""
    found = re.split("\r?\n", text)
    return found if found[-1] else found[:-1]


def first_with_text(text: str) -> str:
    """The first line that has text, stripped; empty where none has."""
    return next((line.strip() for line in lines(text) if line.strip()), "")


def read(path: Path, encoding: str = UTF8) -> str:
    """A file's text, its ends of lines as they are. Raises OSError, UnicodeError and LookupError (no such encoding)."""
    with path.open(encoding=encoding, newline="") as file:
        return file.read()


def missing(value: object) -> bool:
    """A cell says nothing: it is null, or no finite number (as tables of numbers write what they lack)."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def half_pair(value: Any) -> str | None:
    r"""What is wrong with a text, or one inside lists and objects, that has half a surrogate pair, such as `\ud83d`: no
    encoding can write it. None where there is none."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(value[error.start]):04x}"
            return f"has {half}, half of a surrogate pair, which is no character; correct the text"
        return None
    inside: list[Any] = [*value, *value.values()] if isinstance(value, dict) else []
    inside += value if isinstance(value, (list, tuple)) else []
    return next((said for each in inside if (said := half_pair(each))), None)


def refuse_half_pairs(value: Any, place: str) -> None:
    """Raise UserError that names the place where `half_pair` finds one."""
    if said := half_pair(value):
        raise UserError(f"{place}: {said}")


def refuse_twins(names: Sequence[str], place: str, what: str = "columns") -> None:
    """Raise UserError where two columns have one name. Columns without a name are as many as there are."""
    for name, count in Counter(names).items():
        if count > 1 and name:
            raise UserError(f"{place}: {count} {what} are named {name!r}; give each a name of its own, or remove one")


def from_json(text: str, place: str) -> Any:
    """What JSON says. Raises JSONDecodeError where it is none, and UserError that names the place where an object has
    two keys of one name."""
    try:
        return json.loads(text, object_pairs_hook=partial(_object, place))
    except (json.JSONDecodeError, UserError):
        raise
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets in thousands of brackets
        raise json.JSONDecodeError(first_line(error), text, 0) from None


def _object(place: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    refuse_twins([name for name, _ in pairs], place, "keys")
    return dict(pairs)


def table(text: str, delimiter: str, quoting: int = csv.QUOTE_MINIMAL) -> Iterator[tuple[int, list[str]]]:
    """The rows of a text with delimiters that are not empty, each with the number of its last line. Raises csv.Error,
    also for a quoted cell that is not ended or goes on behind its quotes."""
    # `csv` would end a row at a carriage return alone.
    file = io.StringIO(re.sub("\r(?!\n)", _HELD, text), newline="\n")
    reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
    for cells in reader:
        if cells:
            yield reader.line_num, [cell.replace(_HELD, "\r") for cell in cells]
