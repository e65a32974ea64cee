"""Tables of rows that differ only in rank."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from harness.errors import UserError
from reports.read.rows import SEED, Group, groups, without
from reports.read.runs import Sweep
from reports.statistics.verdicts import Comparison, compare, is_zero_shot
from reports.tables._build import build
from reports.values import columns as c
from reports.values.asked import Asked
from reports.values.frame import quality_columns, tidy
from reports.values.table import Table

LEAST_RANKS = 3
"""Ranks that make a table."""
RANK, ALPHA = "settings.method.rank", "settings.method.alpha"


def tables(asked: Asked) -> list[Table]:
    """`--table rank`. Raises UserError where the sweep has none."""
    return rank_tables(asked.sweep, asked.comparison)


def rank_tables(sweep: Sweep, comparison: Comparison) -> list[Table]:
    """A table for each set of rows, of three or more ranks, that differ only in rank. Raises UserError where there is
    none."""
    tables = []
    for rows in rank_groups(sweep):
        runs = tuple(run for row in rows for run in row.runs)
        bases = tuple(run for run, record in sweep.done if is_zero_shot(record))
        part = Sweep(sweep.name, sweep.question, runs)
        compared = compare(Sweep(sweep.name, sweep.question, bases + runs), comparison.score, comparison.allow)
        frame = tidy(part, compared)
        scores = c.score_columns(quality_columns(part))
        shown = (*c.RANK, c.PARAMETERS[0], *scores, *c.change_columns(compared, frame), *c.VERDICT)
        about = f"Rows that differ only in rank{_alpha(rows)}: {', '.join(row.label for row in rows)}."
        tables.append(build(f"{sweep.name}: rank", (about,), shown, part, compared, frame))
    if not tables:
        least = f"fewer than {LEAST_RANKS} finished rows that differ only in {RANK}"
        raise UserError(f"{sweep.name}: no table of ranks, since it has {least}; use --table methods")
    return tables


def rank_groups(sweep: Sweep) -> list[tuple[Group, ...]]:
    """Sets of finished rows, of three or more ranks, whose keys are equal but for rank and seeds.

    An `alpha` that is the same multiple of the rank in every row follows from the rank and does not tell rows apart.
    """
    by_setting: dict[str, list[Group]] = defaultdict(list)
    for row in groups(sweep):
        flat = row.records[0].flat_key
        if isinstance(rank := flat.get(RANK), int) and rank > 0:
            for scaling in _scalings(flat.get(ALPHA), rank):
                rest = without(flat, (RANK, ALPHA, SEED)) | scaling
                by_setting[repr(sorted(rest.items(), key=lambda item: item[0]))].append(row)
    sets = [tuple(rows) for rows in by_setting.values() if len({_setting(row, RANK) for row in rows}) >= LEAST_RANKS]
    return list({tuple(row.id for row in rows): rows for rows in sets}.values())


def _scalings(alpha: Any, rank: int) -> list[dict[str, Any]]:
    """The two ways in which rows can agree on alpha: its value, and its ratio to the rank."""
    if not isinstance(alpha, (int, float)):
        return [{"alpha": alpha}]
    return [{"alpha": alpha}, {"alpha over rank": alpha / rank}]


def _setting(row: Group, name: str) -> Any:
    """A setting in a row's key."""
    return row.records[0].flat_key.get(name)


def _alpha(rows: tuple[Group, ...]) -> str:
    """What to say of alpha where it grows with the rank."""
    return " (alpha in proportion to it)" if len({_setting(row, ALPHA) for row in rows}) > 1 else ""
