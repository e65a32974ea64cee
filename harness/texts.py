"""Text as it comes from a user's files: where its lines end, what counts as missing, what is no text. Knows nothing of
the rest of the project but its errors."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import UserError, first_line

UTF8 = "utf-8-sig"
"""UTF-8 with or without a byte order mark."""
DEEPEST = 100
"""Levels of a YAML file."""
_HELD = "\udc0d"
"""Stands for a carriage return that ends no line, while a table is read: no text that was decoded has it."""


def lines(text: str) -> list[str]:
    r"""The lines of a text, each ended by `\n` or `\r\n`, the last one perhaps not. A carriage return alone, a form
    feed, U+2028 and others at which `str.splitlines` cuts are within a line."""
    parts = re.split("\r?\n", text)
    return parts if parts[-1] else parts[:-1]


def first_with_text(text: str) -> str:
    """The first line that has text, stripped; empty where none has."""
    return next((line.strip() for line in lines(text) if line.strip()), "")


def read(path: Path, encoding: str = UTF8) -> str:
    """A file's text, its ends of lines as they are. Raises OSError, UnicodeError and LookupError (no such encoding)."""
    with path.open(encoding=encoding, newline="") as file:
        return file.read()


def read_text(path: Path, encoding: str = UTF8, absent: str = "no such file", hint: str = "") -> str:
    """A file's text, as `read`. Raises UserError; `absent`: the message where there is none, `hint`: what else may be
    done about another encoding."""
    try:
        return read(path, encoding)
    except FileNotFoundError:
        raise UserError(f"{path}: {absent}") from None
    except LookupError:
        raise UserError(
            f"--encoding {encoding}: no such encoding; utf-8, utf-16, latin-1 and cp1252 are usual"
        ) from None
    except UnicodeError as error:
        where = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        raise UserError(
            f"{path}: not {'UTF-8' if encoding == UTF8 else encoding}{where}; save it as UTF-8{hint}"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)}); check the file") from None


def missing(value: object) -> bool:
    """A cell says nothing: it is null, or no finite number (as tables of numbers write what they lack)."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def half_pair(value: Any) -> str | None:
    r"""What is wrong with a text, or one inside lists and objects, that has half a surrogate pair, such as `\ud83d`: no
    encoding can write it. None where there is none."""
    inside = [value]
    while inside:  # no recursion: what is nested deeper than Python calls may be a list all the same
        value = inside.pop()
        if isinstance(value, dict):
            inside += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            inside += value
        elif isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                half = f"\\u{ord(value[error.start]):04x}"
                return f"has {half}, half of a surrogate pair, which is no character; correct the text"
    return None


def refuse_half_pairs(value: Any, place: str) -> None:
    """Raise UserError that names the place where `half_pair` finds one."""
    if problem := half_pair(value):
        raise UserError(f"{place}: {problem}")


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


def json_object(path: Path) -> dict[str, Any]:
    """What a file says that holds a JSON object. Raises UserError that names it."""
    try:
        content = from_json(read(path), str(path))
        refuse_half_pairs(content, str(path))
    except UserError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is no JSON object ({first_line(error)}); restore it") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is no JSON object, but a {type(content).__name__}; restore it")
    return content


def from_yaml(text: str, place: str) -> Any:
    """What YAML says. Raises UserError that names the place, also where a mapping has two keys of one name."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            refuse_twins([key.value for key, _ in node.value if isinstance(key.value, str)], place, "keys")
            return super().construct_mapping(node, deep)

    try:
        depth = 0
        for event in yaml.parse(text, Loader=base):  # the loader calls itself in C, without a limit of its own
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise UserError(f"{place}: is not YAML (more than {DEEPEST} brackets or lists within one another)")
        return yaml.load(text, Loader=Loader)
    except UserError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
        raise UserError(f"{place}: is not YAML ({' '.join(str(error).split())})") from None


def table(text: str, delimiter: str, quoting: int = csv.QUOTE_MINIMAL) -> Iterator[tuple[int, list[str]]]:
    """The rows of a text with delimiters that are not empty, each with the number of its last line. Raises csv.Error,
    also for a quoted cell that is not ended or goes on behind its quotes."""
    csv.field_size_limit(sys.maxsize)  # the default refuses a cell of more than 128 KiB
    # `csv` would end a row at a carriage return alone.
    file = io.StringIO(re.sub("\r(?!\n)", _HELD, text), newline="\n")
    reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
    for cells in reader:
        if cells:
            yield reader.line_num, [cell.replace(_HELD, "\r") for cell in cells]
