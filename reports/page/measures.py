"""The numbers that the page shows of a run: title, unit, how they are written, and which direction is better."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.results.record import Record
from harness.results.sections import Better
from reports.statistics.scores import better, better_at, main_score
from reports.values import columns as c


@dataclass(frozen=True)
class Measure:
    """A column of numbers."""

    column: c.Column
    better: Better = "neither"
    """Which of two values is better."""
    group: str = ""
    """Heading under which menus list it."""


def _group(name: str, *columns: tuple[c.Column, Better]) -> tuple[Measure, ...]:
    return tuple(Measure(column, better, name) for column, better in columns)


SETTINGS = _group(
    "settings",
    (c.RANK[0], "neither"),
    (c.LEARNING_RATE[0], "neither"),
    (c.Column("seed", "seed", "count"), "neither"),
    (c.Column("test_examples", "test examples", "count"), "neither"),
    (c.Column("step", "steps done", "count"), "neither"),
    (c.Column("train_tokens", "training tokens", "count"), "neither"),
)
SIZE = _group(
    "size",
    (c.PARAMETERS[0], "lower"),
    (c.PARAMETERS[1], "lower"),
    (c.DISK[0], "lower"),
    (c.Column("full_copy_bytes", "full copy on disk", "disk"), "lower"),
)
MEMORY = _group(
    "memory",
    (c.TENSORS[0], "lower"),
    (c.TENSORS[1], "lower"),
    (c.Column("planned_peak_bytes", "planned peak", "memory"), "lower"),
    (c.CUDA[0], "lower"),
    (c.Column("train_cuda_reserved_bytes", "training peak CUDA, reserved", "memory"), "lower"),
    (c.CUDA[1], "lower"),
    (c.RSS[0], "lower"),
    (c.RSS[1], "lower"),
    (c.Column("process_peak_rss_bytes", "process peak", "memory"), "lower"),
)
SPEED = _group(
    "speed",
    (c.SPEED[0], "higher"),
    (c.Column("train_samples_per_second", "training", "speed", "examples/s"), "higher"),
    (c.Column("decode_ms_per_token", "latency, batch 1: each token", "speed", "ms/token"), "lower"),
    (c.Column("prefill_ms", "latency, batch 1: first token", "speed", "ms"), "lower"),
    (c.Column("evaluate_seconds_per_example", "evaluation time", "loss", "s/example"), "lower"),
    (c.Column("train_seconds", "training time", "seconds", "s"), "lower"),
    (c.SECONDS[0], "lower"),
)
FORGETTING = _group(
    "forgetting",
    (c.FORGETTING[0], "lower"),
    (c.FORGETTING[1], "lower"),
    (c.FORGETTING[2], "higher"),
    (c.FORGETTING[3], "higher"),
    (c.FORGETTING[4], "lower"),
    (c.FORGETTING[5], "higher"),
)


def otherwise(which: Better) -> tuple[Measure, ...]:
    """The main score, of which `which` values are better, where the test inputs are read otherwise."""
    return _group(
        "consistency",
        (c.TYPOS[0], which),
        (c.TYPOS[1], "higher"),
        (c.PARAPHRASES[0], which),
        (c.PARAPHRASES[1], which),
        (c.PARAPHRASES[2], "higher"),
    )


def measures(quality: dict[str, str], records: Sequence[Record]) -> tuple[Measure, ...]:
    """Every measure, in the order of menus and tables, given the scores' columns and where records have them."""
    columns = c.score_columns(quality)
    scores = tuple(Measure(each, better_at(records, quality[each.key]), "quality") for each in columns)
    rest = otherwise(better(records, main_score(records) or ""))
    return (*scores, *SIZE, *MEMORY, *SPEED, *FORGETTING, *rest, *SETTINGS)


def shape(kind: c.Kind, values: Sequence[float]) -> tuple[str, dict[str, Any]]:
    """The unit ("" for that of the column) and how the page writes the values of a column, as tables do: `divisor`,
    then decimals (`fixed`) or significant digits (`digits`), `comma` between thousands, `sign` for a plus."""
    unit, size, spec = c.form(kind, list(values))
    match = re.fullmatch(r"(\+?)(,?)(?:\.(\d))?([fg])", spec)
    assert match is not None, spec
    sign, comma, places, letter = match.groups()
    # Python's `g` without a number means six digits.
    style: dict[str, Any] = {"fixed": int(places)} if letter == "f" else {"digits": int(places or 6)}
    style |= {"divisor": size} if unit else {}
    return unit, style | ({"comma": True} if comma else {}) | ({"sign": True} if sign else {})
