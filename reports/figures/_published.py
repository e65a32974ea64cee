"""Published scores by rank, from the tables in `reports/papers`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.results.record import Record
from reports.published.files import FOLDER, Paper, paper_names, read_paper
from reports.published.match import meets

RANK = "r"
"""The column of a table of ranks."""


@dataclass(frozen=True)
class Published:
    """What a paper prints for each rank."""

    source: str
    """The paper and its model."""
    scores: dict[str, dict[int, float]]
    """By our score's name: rank -> value in the unit of our records."""


def published(records: Sequence[Record], folder: Path = FOLDER) -> Published | None:
    """The table of ranks whose conditions and task all these records meet, if there is one."""
    for paper in (read_paper(name, folder) for name in paper_names(folder)):
        # Without a task any records would meet an empty condition.
        if RANK in paper.columns and "data.name" in paper.protocol:
            conditions = paper.match | {"data.name": paper.protocol["data.name"]}
            if all(meets(record, conditions) for record in records):
                scores = {score.ours: _by_rank(paper, column) for column, score in paper.scores.items()}
                return Published(f"{_cited(paper.paper)}, {paper.model}", {k: v for k, v in scores.items() if v})
    return None


def _by_rank(paper: Paper, column: str) -> dict[int, float]:
    """Rank -> published score in the unit of our records."""
    pairs = [(paper.printed(row, RANK), paper.published(row, column)) for row in paper.rows]
    return {int(rank): value for rank, value in pairs if isinstance(rank, int) and value is not None}


def _cited(paper: str) -> str:
    """`Author et al. Year` of `Title (Author et al. Year)`, or what there is."""
    return paper.rpartition("(")[2].rstrip(")")
