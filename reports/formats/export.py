"""The raw numbers of tables as CSV, JSON or Parquet: a line a run, or what else a table has lines of, unrounded."""

from __future__ import annotations

import io
import re
from typing import Any

import pandas as pd

from reports.values.table import Table

TEXTS = ("csv", "json")
FORMATS = (*TEXTS, "parquet")
FORMULA = ("=", "+", "-", "@", "\t")
"""What a cell begins with that a spreadsheet computes."""


def tidy_frame(tables: list[Table]) -> pd.DataFrame:
    """The lines of all tables under one header; a run that two tables show is one line."""
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    return frame.drop_duplicates(["sweep", "run_id"] if "run_id" in frame else None, ignore_index=True)


def exported(frame: pd.DataFrame, form: str) -> str | bytes:
    """A frame in one of FORMATS; JSON is a list of objects, in which nothing known is null."""
    if form == "parquet":
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        return buffer.getvalue()
    if form == "json":
        return str(frame.to_json(orient="records", indent=1, force_ascii=False, double_precision=15)) + "\n"
    return str(frame.map(_cell).to_csv(index=False))


def _cell(value: Any) -> Any:
    """A text as a spreadsheet takes it for one: not for a formula (https://owasp.org/www-community/attacks/CSV_Injection),
    and on one line."""
    if not isinstance(value, str):
        return value
    text = re.sub(r"[\r\n]+", " ", value)
    return f"'{text}" if text.startswith(FORMULA) else text
