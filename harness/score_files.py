"""Files of predictions and references as `python -m harness.score` takes them."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError, first_line
from harness.texts import UTF8, from_json, lines, missing, read, refuse_half_pairs, refuse_twins, table

OUTPUTS = ("prediction", "output", "pred", "ref")
REFERENCES = ("ref", "reference", "references", "target", "summary", "answer", "label")
INPUTS = ("mr", "source", "input")
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
        # An empty line is an empty text.
        outputs = lines(read_text(predictions, encoding))
        if len(outputs) == 1 and not is_table(references) and all(len(group) == 1 for group in groups):
            groups = [tuple(text for group in groups for text in group)]  # without blank lines, all are of the one item
        return Texts(outputs, groups, sources)
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
    """The file's text. Raises UserError."""
    try:
        return read(path, encoding)
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


def read_table(path: Path, encoding: str) -> list[Row]:
    """The rows of a csv, tsv or jsonl file. Raises UserError with file and line."""
    text = read_text(path, encoding)
    if path.suffix.lower() == ".jsonl":
        found = enumerate(lines(text), start=1)
        return [_json_row(path, number, line) for number, line in found if line.strip()]
    csv.field_size_limit(sys.maxsize)  # the default refuses a cell of more than 128 KiB
    rows: list[Row] = []
    number = 0
    try:
        cells = table(text, DELIMITERS[path.suffix.lower()])
        number, header = next(cells, (0, []))
        names = [name.strip().lower() for name in header]
        refuse_twins(names, f"{path}, line 1")
        for number, row in cells:
            if len(row) != len(names):
                raise UserError(
                    f"{path}, line {number}: has not as many cells as the header; quote cells with delimiters"
                )
            rows.append(dict(zip(names, row, strict=True)))
    except csv.Error as error:
        raise UserError(f"{path}, after line {number}: {error}; quote cells that have quotes or delimiters") from None
    return rows


def _json_row(path: Path, number: int, line: str) -> Row:
    try:
        content = from_json(line, f"{path}, line {number}")
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {number}: not JSON ({first_line(error)})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}, line {number}: not a JSON object with the columns as keys")
    refuse_half_pairs(content, f"{path}, line {number}")
    refuse_twins([name.lower() for name in content], f"{path}, line {number}")
    row: dict[str, str | tuple[str, ...]] = {}
    for name, value in content.items():
        if isinstance(value, list):
            texts = [_written(each) for each in value if not missing(each)]
            row[name.lower()] = tuple(text for text in texts if text.strip())
        else:
            row[name.lower()] = _written(value)
    return row


def _written(value: object) -> str:
    """A JSON value as text: what is missing is empty, objects are JSON again."""
    return value if isinstance(value, str) else "" if missing(value) else json.dumps(value, ensure_ascii=False)


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
    if empty := [i for i, cell in enumerate(cells, start=1) if isinstance(cell, str) and not cell.strip()]:
        raise UserError(f"{path}, row {empty[0]}: there is no reference; fill it in or remove the row")
    if given is None:
        return None, groups
    sources = [_text(row, given) for row in rows]
    if not all(isinstance(cell, str) for cell in cells):
        return sources, groups
    joined: dict[str, tuple[str, ...]] = {}
    for source, group in zip(sources, groups, strict=True):
        joined[source] = (*joined.get(source, ()), *group)
    return list(joined), list(joined.values())


def _reference_blocks(path: Path, encoding: str) -> list[tuple[str, ...]]:
    """Groups of lines with a blank line between them; without any blank line, each line is a group."""
    found = [line if line.strip() else "" for line in lines(read_text(path, encoding))]
    while found and not found[-1]:
        found.pop()
    if "" not in found:
        return [(line,) for line in found]
    blocks = "\n".join(found).split("\n\n")
    return [tuple(line for line in block.split("\n") if line) for block in blocks]
