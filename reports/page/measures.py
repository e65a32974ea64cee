"""The numbers that the page shows of a run: title, unit, how they are written, and which direction is better."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reports import columns as c
from reports.scores import lower_is_better

Better = Literal["lower", "higher", ""]

UNDIRECTED = ("length_ratio", "copy_rate", "repetition", "distinct")
"""Beginnings of the names of scores of which neither more nor less is better."""


@dataclass(frozen=True)
class Measure:
    """A column of numbers."""

    column: c.Column
    better: Better = ""
    """Which of two values is better; empty where neither is."""
    group: str = ""
    """Heading under which menus list it."""


def _group(name: str, *columns: tuple[c.Column, Better]) -> tuple[Measure, ...]:
    return tuple(Measure(column, better, name) for column, better in columns)


SETTINGS = _group(
    "settings",
    (c.RANK[0], ""),
    (c.LEARNING_RATE[0], ""),
    (c.Column("seed", "seed", "count"), ""),
    (c.Column("test_examples", "test examples", "count"), ""),
    (c.Column("step", "steps done", "count"), ""),
    (c.Column("train_tokens", "training tokens", "count"), ""),
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
OTHERWISE = _group(
    "consistency",
    (c.TYPOS[0], "higher"),
    (c.TYPOS[1], "higher"),
    (c.PARAPHRASES[0], "higher"),
    (c.PARAPHRASES[1], "higher"),
    (c.PARAPHRASES[2], "higher"),
)


def scores(quality: dict[str, str]) -> tuple[Measure, ...]:
    """The scores, given column -> field of the record."""
    return tuple(Measure(column, direction(column.key), "quality") for column in c.score_columns(quality))


def measures(quality: dict[str, str]) -> tuple[Measure, ...]:
    """Every measure, in the order of menus and tables."""
    return (*scores(quality), *SIZE, *MEMORY, *SPEED, *FORGETTING, *OTHERWISE, *SETTINGS)


def direction(name: str) -> Better:
    """Which values of a column of scores are better; lm-evaluation-harness's have the task in front of the metric."""
    plain = name.rpartition("/")[2].rpartition(" ")[2].removesuffix("_nats_per_token")
    return "" if plain.startswith(UNDIRECTED) else "lower" if lower_is_better(plain) else "higher"


def shape(kind: c.Kind, values: Sequence[float]) -> tuple[str, dict[str, Any]]:
    """The unit ("" for that of the column) and how the page writes the values of a column, as tables do: `divisor`,
    then decimals (`fixed`) or significant digits (`digits`), `comma` between thousands, `sign` for a plus."""
    unit, size, spec = c.form(kind, list(values))
    found = re.fullmatch(r"(\+?)(,?)(?:\.(\d))?([fg])", spec)
    assert found is not None, spec
    sign, comma, places, letter = found.groups()
    # Python's `g` without a number means six digits.
    told: dict[str, Any] = {"fixed": int(places)} if letter == "f" else {"digits": int(places or 6)}
    told |= {"divisor": size} if unit else {}
    return unit, told | ({"comma": True} if comma else {}) | ({"sign": True} if sign else {})
