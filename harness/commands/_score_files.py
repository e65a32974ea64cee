"""Files of predictions and references as `python -m harness score` takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.tables import TableReader
from harness.errors import UserError
from harness.texts import lines, missing, read_text, refuse_half_pairs, refuse_twins

OUTPUTS = ("prediction", "output", "pred", "ref")
REFERENCES = ("ref", "reference", "references", "target", "summary", "answer", "label")
INPUTS = ("mr", "source", "input")
READER = TableReader(
    folded=True,
    quoted_tabs=True,
    cells="has not as many cells as the header; quote cells with delimiters",
    table="{why}; quote cells that have quotes or delimiters",
    json="not JSON ({why})",
    object="not a JSON object with the columns as keys",
)

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
        outputs = lines(_read(predictions, encoding))
        if len(outputs) == 1 and not is_table(references) and all(len(group) == 1 for group in groups):
            groups = [tuple(text for group in groups for text in group)]  # without blank lines, all are of the one item
        return Texts(outputs, groups, sources)
    rows = read_table(predictions, encoding)
    texts = [_text(row, _column(predictions, rows, columns.prediction, OUTPUTS)) for row in rows]
    input_column = _column(predictions, rows, columns.input, INPUTS, needed=columns.input is not None)
    if sources is None or input_column is None or len(set(sources)) < len(sources):
        return Texts(texts, groups, sources)
    by_source: dict[str, str] = {}
    for number, (row, text) in enumerate(zip(rows, texts, strict=True), start=1):
        if by_source.setdefault(_text(row, input_column), text) != text:
            raise UserError(
                f"{predictions}, row {number}: a second, different output for {_text(row, input_column)}; keep one"
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
    return path.suffix.lower() in (".csv", ".tsv", ".jsonl")


def _read(path: Path, encoding: str) -> str:
    return read_text(path, encoding, hint=" (python -m harness score also takes --encoding)")


def read_table(path: Path, encoding: str) -> list[Row]:
    """The rows of a csv, tsv or jsonl file. Raises UserError with file and line."""
    text = _read(path, encoding)
    if path.suffix.lower() == ".jsonl":
        return [_json_row(row, f"{path}, line {number}") for number, row in READER.json_lines(text, path)]
    return [*READER.separated(text, path)]


def _json_row(content: Mapping[str, Any], place: str) -> Row:
    refuse_half_pairs(content, place)
    refuse_twins([name.lower() for name in content], place)
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
    column = next((name for name in wanted if name in columns), None)
    if column is None and needed:
        have = ", ".join(sorted(columns)) or "none"
        raise UserError(f"{path}: needs a column {' or '.join(wanted)}, has {have}")
    return column


def _text(row: Row, column: str | None) -> str:
    assert column is not None
    value = row[column]
    return value if isinstance(value, str) else json.dumps(list(value), ensure_ascii=False)


def _reference_table(path: Path, columns: Columns, encoding: str) -> tuple[list[str] | None, list[tuple[str, ...]]]:
    """Inputs, where there are any, and references: rows of one input are one item unless a cell holds a list."""
    rows = read_table(path, encoding)
    column = _column(path, rows, columns.reference, REFERENCES)
    input_column = _column(path, rows, columns.input, INPUTS, needed=columns.input is not None)
    assert column is not None
    cells = [row[column] for row in rows]
    groups = [(cell,) if isinstance(cell, str) else cell for cell in cells]
    if empty := [i for i, cell in enumerate(cells, start=1) if isinstance(cell, str) and not cell.strip()]:
        raise UserError(f"{path}, row {empty[0]}: there is no reference; fill it in or remove the row")
    if input_column is None:
        return None, groups
    sources = [_text(row, input_column) for row in rows]
    if not all(isinstance(cell, str) for cell in cells):
        return sources, groups
    joined: dict[str, tuple[str, ...]] = {}
    for source, group in zip(sources, groups, strict=True):
        joined[source] = (*joined.get(source, ()), *group)
    return list(joined), list(joined.values())


def _reference_blocks(path: Path, encoding: str) -> list[tuple[str, ...]]:
    """Groups of lines with a blank line between them; without any blank line, each line is a group."""
    texts = [line if line.strip() else "" for line in lines(_read(path, encoding))]
    while texts and not texts[-1]:
        texts.pop()
    if "" not in texts:
        return [(line,) for line in texts]
    blocks = "\n".join(texts).split("\n\n")
    return [tuple(line for line in block.split("\n") if line) for block in blocks]
