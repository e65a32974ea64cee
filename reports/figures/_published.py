"""Published scores by rank, from the tables in `reports/papers`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.results import Record

FOLDER = Path(__file__).parents[1] / "papers"


@dataclass(frozen=True)
class Published:
    """What a paper prints for each rank."""

    source: str
    """The paper and its model."""
    scores: dict[str, dict[int, float]]
    """By our score's name: rank -> value in the unit of our records."""


def published(records: Sequence[Record], folder: Path = FOLDER) -> Published | None:
    """The table of ranks whose conditions and task all these records meet, if there is one."""
    for path in sorted(folder.glob("*.yaml")):
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
        columns, protocol = table["columns"], table.get("protocol") or {}
        task = {"data.name": protocol["data.name"]} if "data.name" in protocol else {}
        # An empty condition would match anything.
        if "r" in columns and task and all(_meets(record, (table.get("match") or {}) | task) for record in records):
            rank = columns.index("r")
            scores = {
                score["ours"]: {
                    int(row["values"][rank]): row["values"][columns.index(column)] * score.get("factor", 1.0)
                    for row in table["rows"]
                    if row["values"][columns.index(column)] is not None
                }
                for column, score in table["scores"].items()
                if column in columns
            }
            return Published(f"{_cited(table['paper'])}, {table['model']}", scores)
    return None


def _cited(paper: str) -> str:
    """`Author et al. Year` of `Title (Author et al. Year)`, or what there is."""
    return paper.rpartition("(")[2].rstrip(")")


def _meets(record: Record, conditions: dict[str, Any]) -> bool:
    """Whether the key has these values; a name without its section is one of the settings."""
    flat = record.flat_key
    return all(flat.get(name, flat.get(f"settings.{name}")) == value for name, value in conditions.items())
