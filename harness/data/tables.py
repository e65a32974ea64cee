"""Rows of tables: from files (csv, tsv, jsonl, json, parquet) and from data sets of the hub."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError, first_line, nearest
from harness.network import unreachable
from harness.texts import from_json, lines, missing, read_text, refuse_half_pairs, refuse_twins, table

Row = dict[str, Any]
"""A row's cells by column. Cells of csv and tsv files are texts; others are what the file says, and an empty text where
it says nothing: null, NaN."""

ROOM, MOST_TIMES = 2**26, 1000
"""Bytes that any parquet file may become, and how many times its own size: texts are packed ten to a hundred times."""
ROW = 250
"""Bytes that a row takes besides its values."""
FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


@dataclass(frozen=True)
class TableReader:
    """Reads csv, tsv and jsonl files, and says what is wrong with lines that are no rows."""

    cells: str = (
        "has {count} cells for {wanted} columns ({names}); quote the cells, or name the columns in data.columns"
    )
    table: str = "cannot be read ({why}); use a jsonl file"
    json: str = "is not JSON ({why}); correct the line"
    object: str = "is not an object; write {{column: value, …}} on each line"
    folded: bool = False
    """Columns are known by their names in lower case, without white space around them."""
    quoted_tabs: bool = False
    """In a tsv file, quotes quote; else they are text like any other (as in GLUE's)."""

    def separated(self, text: str, path: Path, columns: Sequence[str] | None = None) -> list[dict[str, str]]:
        """The rows of a csv or tsv file; `columns`: their names, where it has no line of them. Raises UserError."""
        tabs = path.suffix.lower() == ".tsv"
        quoting = csv.QUOTE_NONE if tabs and not self.quoted_tabs else csv.QUOTE_MINIMAL
        numbered = table(text, "\t" if tabs else ",", quoting)
        rows: list[dict[str, str]] = []
        number = 0
        try:
            number, names = (0, list(columns)) if columns is not None else next(numbered, (0, []))
            names = [name.strip().lower() for name in names] if self.folded else names
            refuse_twins(names, f"{path}, line 1" if columns is None else "data.columns")
            if any("\r" in name for name in names):
                raise UserError(f"{path}, line 1: a carriage return alone ends no line; save the file with line feeds")
            # A spreadsheet's empty columns have no name that one could give; a table's index is one such column.
            unnamed = names.count("") > 1
            for number, cells in numbered:
                if len(cells) != len(names):
                    counts = {"count": len(cells), "wanted": len(names), "names": ", ".join(names)}
                    raise UserError(f"{path}, line {number}: {self.cells.format(**counts)}")
                rows.append({name: cell for name, cell in zip(names, cells, strict=True) if name or not unnamed})
        except csv.Error as error:
            raise UserError(f"{path}, after line {number}: {self.table.format(why=error)}") from None
        return rows

    def json_lines(self, text: str, path: Path) -> Iterator[tuple[int, Row]]:
        """The objects of a jsonl file, each with the number of its line. Raises UserError."""
        for number, line in enumerate(lines(text), 1):
            if line.strip():
                place = f"{path}, line {number}"
                try:
                    row = from_json(line, place)
                except json.JSONDecodeError as error:
                    raise UserError(f"{place}: {self.json.format(why=error.msg)}") from None
                if not isinstance(row, dict):
                    raise UserError(f"{place}: {self.object.format()}")
                yield number, row


def read_table(folder: Path, name: str, columns: Sequence[str] | None) -> list[Row]:
    """The rows of a file in a folder, or of all files that the pattern `name` matches, in the order of their names.

    `columns`: names of the columns of a csv or tsv file that has no line of them. Raises UserError.
    """
    if not os.path.isdir(folder):
        raise UserError(f"data.path={folder}: no such folder; give the folder with {name}")
    one = os.path.isfile(folder / name) or not set(name) & set("*?[")  # a file may be called as a pattern is
    paths = [folder / name] if one else sorted(folder.glob(name))
    if not paths or not os.path.isfile(paths[0]):
        there = [path.name for path in sorted(folder.iterdir()) if path.is_file()]
        raise UserError(
            f"{folder / name}: no such file; {nearest(name, there) if there else 'the folder has no files'}"
        )
    rows = [row for path in paths for row in _read(path, columns)]
    if not rows:
        raise UserError(f"{folder / name}: has no rows; fill it, or name another file in data.files")
    return rows


def _read(path: Path, columns: Sequence[str] | None) -> list[Row]:
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise UserError(f"{path}: of an unknown format; it must end in one of {', '.join(FORMATS)}")
    if kind == ".parquet":
        rows = _parquet(path)
    else:
        text, reader = read_text(path), TableReader()
        if kind == ".json":
            rows = _json(text, path)
        elif kind == ".jsonl":
            rows = [row for _, row in reader.json_lines(text, path)]
        else:
            rows = [*reader.separated(text, path, columns)]
    try:
        return [_present(row, f"{path}, row {number}") for number, row in enumerate(rows, 1)]
    except RecursionError:
        raise UserError(f"{path}: holds values that are nested too deeply; flatten them") from None


def _json(text: str, path: Path) -> list[Row]:
    """An array of objects, or an object that holds one."""
    try:
        content = from_json(text or "[]", str(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: is not JSON ({error.msg}); correct the line") from None
    if isinstance(content, dict):
        content = next((value for value in content.values() if isinstance(value, list)), None)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(f"{path}: holds no array of objects; use [{{column: value, …}}, …], or a .jsonl file")
    return content


def _parquet(path: Path) -> list[Row]:
    """By pyarrow, a few rows at a time: a column of one value repeated takes no room in the file, and all of the memory
    there is outside it."""
    from pyarrow import ArrowException, parquet  # type: ignore[import-untyped]

    rows: list[Row] = []
    size = 0
    try:
        most = max(ROOM, MOST_TIMES * path.stat().st_size)
        with parquet.ParquetFile(path) as file:
            refuse_twins(file.schema_arrow.names, str(path))
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            largest = max((group.total_byte_size for group in groups), default=1)  # no value of a row is larger
            if sum(group.total_byte_size for group in groups) > most:
                raise _grows(path, most)
            for batch in file.iter_batches(batch_size=max(1, min(1024, ROOM // max(1, largest)))):
                size += batch.nbytes + ROW * batch.num_rows
                if size > most:
                    raise _grows(path, most)
                rows += batch.to_pylist()
    except UserError:
        raise
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except (OSError, ValueError, RuntimeError, ArrowException) as error:
        raise UserError(f"{path}: is not a parquet file ({_said(error)}); check the file") from None
    return rows


def _grows(path: Path, most: int) -> UserError:
    return UserError(
        f"{path}: its {path.stat().st_size:,} bytes would become more than {most / 2**20:,.0f} MiB of rows, which no "
        "honest data set does; write it anew, or as jsonl"
    )


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
    why = None if Path(hub_id).is_dir() else unreachable()
    from datasets import load_dataset, load_dataset_builder
    from datasets.exceptions import DatasetsError
    from datasets.packaged_modules.csv.csv import Csv

    try:
        builder = load_dataset_builder(hub_id, name, revision=revision)
        options: dict[str, Any] = {}
        if isinstance(builder, Csv):  # read by pandas, which takes words such as None and NA for missing cells
            options = {"keep_default_na": False, "na_values": [""]}
            _refuse_twins_of(builder.config, hub_id)
        dataset = load_dataset(hub_id, name, revision=revision, **options)
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        if why:
            raise UserError(
                f"data.hub_id={hub_id}: is not in the cache of datasets, and {why}; check the id and the network, or "
                "name files (data.path)"
            ) from None
        raise UserError(
            f"data.hub_id={hub_id}: cannot be loaded ({_said(error)}); check the id, data.hub_name and the network"
        ) from None
    for split in splits:
        if split not in dataset:
            raise UserError(f"data.hub_splits: {hub_id} has no split {split}; {nearest(split, list(dataset))}")
        if not len(dataset[split]):
            raise UserError(f"data.hub_splits: the split {split} of {hub_id} is empty; name another one")
    try:
        rows = {split: dataset[split].to_list() for split in splits}
    except UnicodeDecodeError as error:
        raise UserError(f"data.hub_id={hub_id}: has a text that is not UTF-8 ({error.reason}); correct it") from None
    return {
        split: [_present(row, f"data.hub_id={hub_id}, {split}, row {number}") for number, row in enumerate(each, 1)]
        for split, each in rows.items()
    }
