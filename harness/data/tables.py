"""Rows of tables: from files (csv, tsv, jsonl, json, parquet) and from data sets of the hub."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import UserError, first_line, nearest
from harness.texts import from_json, lines, missing, read, refuse_half_pairs, refuse_twins, table

Row = dict[str, Any]
"""A row's cells by column. Cells of csv and tsv files are texts; others are what the file says, and an empty text where
it says nothing: null, NaN."""

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


def read_table(folder: Path, name: str, columns: Sequence[str] | None) -> list[Row]:
    """The rows of a file in a folder, or of all files that the pattern `name` matches, in the order of their names.

    `columns`: names of the columns of a csv or tsv file that has no line of them. Raises UserError.
    """
    if not folder.is_dir():
        raise UserError(f"data.path={folder}: no such folder; give the folder with {name}")
    paths = [folder / name] if not set(name) & set("*?[") else sorted(folder.glob(name))
    if not paths or not paths[0].is_file():
        there = [path.name for path in sorted(folder.iterdir()) if path.is_file()]
        raise UserError(
            f"{folder / name}: no such file; {nearest(name, there) if there else 'the folder has no files'}"
        )
    rows = [row for path in paths for row in _read(path, columns)]
    if not rows:
        raise UserError(f"{folder / name}: has no rows; fill it, or name another file in data.files")
    return rows


def _read(path: Path, columns: Sequence[str] | None) -> list[Row]:
    if path.suffix not in FORMATS:
        raise UserError(f"{path}: of an unknown format; it must end in one of {', '.join(FORMATS)}")
    readers = {".parquet": _parquet, ".jsonl": _json_lines, ".json": _json}
    try:
        rows = readers[path.suffix](path) if path.suffix in readers else _separated(path, columns)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check the file") from None
    return [_present(row, f"{path}, row {number}") for number, row in enumerate(rows, 1)]


def _separated(path: Path, columns: Sequence[str] | None) -> list[Row]:
    """A csv file, or a tsv file, in which quotes are text like any other (as in GLUE's)."""
    tabs = path.suffix == ".tsv"
    found = table(read(path), "\t", csv.QUOTE_NONE) if tabs else table(read(path), ",")
    rows: list[Row] = []
    number = 0
    try:
        names = list(columns) if columns is not None else next(found, (0, []))[1]
        refuse_twins(names, f"{path}, line 1" if columns is None else "data.columns")
        if any("\r" in name for name in names):
            raise UserError(f"{path}, line 1: a carriage return alone ends no line; save the file with line feeds")
        # A spreadsheet's empty columns have no name that a template could give; a table's index is one such column.
        unnamed = names.count("") > 1
        for number, cells in found:
            if len(cells) != len(names):
                raise UserError(
                    f"{path}, line {number}: has {len(cells)} cells for {len(names)} columns "
                    f"({', '.join(names)}); quote the cells, or name the columns in data.columns"
                )
            rows.append({name: cell for name, cell in zip(names, cells, strict=True) if name or not unnamed})
    except csv.Error as error:
        raise UserError(f"{path}, after line {number}: cannot be read ({error}); use a jsonl file") from None
    return rows


def _json_lines(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(lines(read(path)), 1):
        if line.strip():
            try:
                row = from_json(line, f"{path}, line {number}")
            except json.JSONDecodeError as error:
                raise UserError(f"{path}, line {number}: is not JSON ({error.msg}); correct the line") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number}: is not an object; write {{column: value, …}} on each line")
            rows.append(row)
    return rows


def _json(path: Path) -> list[Row]:
    """An array of objects, or an object that holds one."""
    try:
        content = from_json(read(path) or "[]", str(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: is not JSON ({error.msg}); correct the line") from None
    if isinstance(content, dict):
        content = next((value for value in content.values() if isinstance(value, list)), None)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(f"{path}: holds no array of objects; use [{{column: value, …}}, …], or a .jsonl file")
    return content


def _parquet(path: Path) -> list[Row]:
    from datasets import Dataset
    from datasets.exceptions import DatasetsError
    from pyarrow import parquet  # type: ignore[import-untyped]

    try:
        refuse_twins(parquet.read_schema(path).names, str(path))
        rows: list[Row] = Dataset.from_parquet(str(path)).to_list()
    except (UserError, UnicodeDecodeError):
        raise
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise UserError(f"{path}: is not a parquet file ({_said(error)}); check the file") from None
    return rows


def _said(error: BaseException) -> str:
    """What an error says; of one that names another as its cause, what that says."""
    return first_line(error.__cause__ or error)


def _present(row: Row, place: str) -> Row:
    """A row with empty texts for what is missing, also inside lists and objects. Raises UserError that names the row
    and the column of a text that cannot be written."""
    for name, value in row.items():
        refuse_half_pairs(name, f"{place}, a column's name")
        refuse_half_pairs(value, f"{place}, column {name}")
    return {name: _cell(value) for name, value in row.items()}


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _cell(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_cell(each) for each in value]
    return "" if missing(value) else value


def _refuse_twins_of(config: Any, hub_id: str) -> None:
    """Raise UserError where a csv file of the hub has two columns of one name, of which pandas renames one."""
    import fsspec  # type: ignore[import-untyped]

    for path in {path for paths in config.data_files.values() for path in paths}:
        with fsspec.open(path, "rt", encoding="utf-8-sig", newline="", compression="infer") as file:
            names = next(csv.reader(file, delimiter=config.sep or ","), [])
        refuse_twins(names, f"data.hub_id={hub_id}, {Path(path).name}, line 1")


def read_hub(hub_id: str, name: str | None, revision: str, splits: Sequence[str]) -> dict[str, list[Row]]:
    """The rows of some splits of a data set of the hub, or of a local folder with its layout. Raises UserError."""
    from datasets import load_dataset, load_dataset_builder
    from datasets.exceptions import DatasetsError
    from datasets.packaged_modules.csv.csv import Csv

    try:
        builder = load_dataset_builder(hub_id, name, revision=revision)
        options: dict[str, Any] = {}
        if isinstance(builder, Csv):  # read by pandas, which takes words such as None and NA for missing cells
            options = {"keep_default_na": False, "na_values": [""]}
            _refuse_twins_of(builder.config, hub_id)
        found = load_dataset(hub_id, name, revision=revision, **options)
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise UserError(
            f"data.hub_id={hub_id}: cannot be loaded ({_said(error)}); check the id, data.hub_name and the network"
        ) from None
    for split in splits:
        if split not in found:
            raise UserError(f"data.hub_splits: {hub_id} has no split {split}; {nearest(split, list(found))}")
        if not len(found[split]):
            raise UserError(f"data.hub_splits: the split {split} of {hub_id} is empty; name another one")
    try:
        rows = {split: found[split].to_list() for split in splits}
    except UnicodeDecodeError as error:
        raise UserError(f"data.hub_id={hub_id}: has a text that is not UTF-8 ({error.reason}); correct it") from None
    return {
        split: [_present(row, f"data.hub_id={hub_id}, {split}, row {number}") for number, row in enumerate(each, 1)]
        for split, each in rows.items()
    }
