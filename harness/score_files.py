"""Files of predictions and references as `python -m harness.score` takes them."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError, first_line

OUTPUTS = ("prediction", "output", "pred", "ref")
REFERENCES = ("ref", "reference", "references", "target", "summary", "answer", "label")
INPUTS = ("mr", "source", "input")
UTF8 = "utf-8-sig"
"""UTF-8 with or without a byte order mark."""
DELIMITERS = {".csv": ",", ".tsv": "\t"}

Row = Mapping[str, str | tuple[str, ...]]
"""A line of a table, by lower-case column; several texts where a cell of a jsonl file is a list."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table to read; None: the first that is there of the usual names."""

    prediction: str | None = None
    reference: str | None = None
    input: str | None = None


@dataclass(frozen=True)
class Texts:
    """What is scored: a prediction and its references for each item, and the inputs where the files have them."""

    predictions: list[str]
    references: list[tuple[str, ...]]
    sources: list[str] | None


def read_files(predictions: Path, references: Path, columns: Columns, encoding: str) -> Texts:
    """Both files, paired by input where both have one, else by position."""
    if is_table(references):
        sources, groups = _reference_table(references, columns, encoding)
    else:
        sources, groups = None, _reference_blocks(references, encoding)
    if not is_table(predictions):
        lines = read_lines(predictions, encoding)
        if len(lines) == 1 and not is_table(references) and all(len(group) == 1 for group in groups):
            groups = [tuple(text for group in groups for text in group)]  # without blank lines, all are of the one item
        return Texts(lines, groups, sources)
    rows = read_table(predictions, encoding)
    texts = [_text(row, _column(predictions, rows, columns.prediction, OUTPUTS)) for row in rows]
    given = _column(predictions, rows, columns.input, INPUTS, needed=columns.input is not None)
    if sources is None or given is None or len(set(sources)) < len(sources):
        return Texts(texts, groups, sources)
    by_source: dict[str, str] = {}
    for number, (row, text) in enumerate(zip(rows, texts, strict=True), start=1):
        if by_source.setdefault(_text(row, given), text) != text:
            raise UserError(
                f"{predictions}, row {number}: a second, different output for {_text(row, given)}; keep one"
            )
    if missing := [source for source in sources if source not in by_source]:
        raise UserError(
            f"{predictions}: {len(missing)} inputs of the references have no output, the first is {missing[0]}"
        )
    known = set(sources)
    if extra := [source for source in by_source if source not in known]:
        raise UserError(f"{predictions}: {len(extra)} outputs have no references, the first is for {extra[0]}")
    return Texts([by_source[source] for source in sources], groups, sources)


def is_table(path: Path) -> bool:
    """Whether the file's name says csv, tsv or jsonl; any other is plain text."""
    return path.suffix.lower() in (*DELIMITERS, ".jsonl")


def read_text(path: Path, encoding: str = UTF8) -> str:
    """The file's text with line feeds alone at the ends of lines. Raises UserError."""
    try:
        return path.read_text(encoding=encoding)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except LookupError:
        raise UserError(
            f"--encoding {encoding}: no such encoding; utf-8, utf-16, latin-1 and cp1252 are usual"
        ) from None
    except UnicodeError as error:
        where = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        wanted = "UTF-8" if encoding == UTF8 else encoding
        hint = "save it as UTF-8 (harness.score also takes --encoding)"
        raise UserError(f"{path}: not {wanted}{where}; {hint}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def read_lines(path: Path, encoding: str) -> list[str]:
    """One text a line; an empty line is an empty text. Line feeds alone end lines, not the likes of U+2028."""
    text = read_text(path, encoding)
    return text.removesuffix("\n").split("\n") if text else []


def read_table(path: Path, encoding: str) -> list[Row]:
    """The rows of a csv, tsv or jsonl file. Raises UserError with file and line."""
    text = read_text(path, encoding)
    if path.suffix.lower() == ".jsonl":
        lines = enumerate(text.split("\n"), start=1)
        return [_json_row(path, number, line) for number, line in lines if line.strip()]
    csv.field_size_limit(sys.maxsize)  # the default refuses a cell of more than 128 KiB
    reader = csv.DictReader(io.StringIO(text), delimiter=DELIMITERS[path.suffix.lower()], strict=True)
    try:
        # A short row has None for what it lacks, and what a long row has too much comes under None.
        found = [({(k or "").strip().lower(): v for k, v in row.items()}, reader.line_num) for row in reader]
    except csv.Error as error:
        raise UserError(
            f"{path}, after line {reader.line_num}: {error}; quote cells that have quotes or delimiters"
        ) from None
    for row, number in found:
        if "" in row or None in row.values():
            raise UserError(f"{path}, line {number}: has not as many cells as the header; quote cells with delimiters")
    return [row for row, _ in found]


def _json_row(path: Path, number: int, line: str) -> Row:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise UserError(f"{path}, line {number}: not JSON ({first_line(error)})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}, line {number}: not a JSON object with the columns as keys")
    row: dict[str, str | tuple[str, ...]] = {}
    for name, value in content.items():
        several = isinstance(value, list)
        row[name.lower()] = tuple(map(_written, value)) if several else _written(value)
    return row


def _written(value: object) -> str:
    """A JSON value as text: null is empty, objects are JSON again."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _column(
    path: Path, rows: Sequence[Row], named: str | None, usual: Sequence[str], needed: bool = True
) -> str | None:
    """The column of that name, or the first of the usual ones that every row has."""
    wanted = [named.lower()] if named else list(usual)
    columns = set(rows[0]).intersection(*rows) if rows else set()
    found = next((name for name in wanted if name in columns), None)
    if found is None and needed:
        have = ", ".join(sorted(columns)) or "none"
        raise UserError(f"{path}: needs a column {' or '.join(wanted)}, has {have}")
    return found


def _text(row: Row, column: str | None) -> str:
    assert column is not None
    value = row[column]
    return value if isinstance(value, str) else json.dumps(list(value), ensure_ascii=False)


def _reference_table(path: Path, columns: Columns, encoding: str) -> tuple[list[str] | None, list[tuple[str, ...]]]:
    """Inputs, where there are any, and references: rows of one input are one item unless a cell holds a list."""
    rows = read_table(path, encoding)
    column = _column(path, rows, columns.reference, REFERENCES)
    given = _column(path, rows, columns.input, INPUTS, needed=columns.input is not None)
    assert column is not None
    cells = [row[column] for row in rows]
    groups = [(cell,) if isinstance(cell, str) else cell for cell in cells]
    if given is None:
        return None, groups
    sources = [_text(row, given) for row in rows]
    if not all(isinstance(cell, str) for cell in cells):
        return sources, groups
    joined: dict[str, tuple[str, ...]] = {}
    for number, (source, group) in enumerate(zip(sources, groups, strict=True), start=1):
        if not group[0].strip():
            raise UserError(f"{path}, row {number}: there is no reference; fill it in or remove the row")
        joined[source] = (*joined.get(source, ()), *group)
    return list(joined), list(joined.values())


def _reference_blocks(path: Path, encoding: str) -> list[tuple[str, ...]]:
    """Groups of lines with a blank line between them; without any blank line, each line is a group."""
    lines = [line if line.strip() else "" for line in read_lines(path, encoding)]
    while lines and not lines[-1]:
        lines.pop()
    if "" not in lines:
        return [(line,) for line in lines]
    blocks = "\n".join(lines).split("\n\n")
    return [tuple(line for line in block.split("\n") if line) for block in blocks]
