"""Which columns a table shows, and how the numbers of one column are written: one unit and precision a column."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from reports.statistics.scores import TITLES, title_of
from reports.statistics.verdicts import Comparison
from reports.values.frame import DERIVED, FIELDS

Kind = Literal[
    "text",
    "count",
    "percent",
    "signed_percent",
    "disk",
    "memory",
    "speed",
    "loss",
    "loss_change",
    "share",
    "score",
    "points",
    "seconds",
    "general",
    "p",
]
MINUS = "\N{MINUS SIGN}"
DISK_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
MEMORY_UNITS = (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10))


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    key: str
    """The frame's column."""
    title: str
    kind: Kind
    unit: str = ""
    """Shown in the heading; that of bytes is chosen by the values."""

    @property
    def field(self) -> str | None:
        """The field of the record that explains a missing value."""
        return (FIELDS | DERIVED).get(self.key)


LABEL = (Column("label", "row", "text"),)
LEARNING_RATE = (Column("learning_rate", "learning rate", "general"),)
OPTIMIZER = (Column("optimizer", "optimizer", "text"),)
PARAMETERS = (
    Column("trainable_parameters", "trainable parameters", "count"),
    Column("trainable_percent_of_total", "share", "percent", "% of total"),
)
DISK = (Column("adapter_bytes", "on disk", "disk"),)
TENSORS = (
    Column("train_peak_bytes", "training peak of tensors", "memory"),
    Column("evaluate_peak_bytes", "evaluation peak of tensors", "memory"),
)
RSS = (
    Column("train_rss_growth_bytes", "training memory growth", "memory"),
    Column("evaluate_rss_growth_bytes", "evaluation memory growth", "memory"),
)
CUDA = (
    Column("train_cuda_allocated_bytes", "training peak CUDA", "memory"),
    Column("evaluate_cuda_allocated_bytes", "evaluation peak CUDA", "memory"),
)
SPEED = (Column("train_tokens_per_second", "training", "speed", "tokens/s"),)
SEEDS = (Column("seeds", "seeds", "count"),)
VERDICT = (Column("verdict", "verdict", "text"),)
FORGETTING = (
    Column("general_text_loss_change_nats_per_token", "general text: change of loss", "loss_change", "nats/token"),
    Column("general_text_kl_nats_per_token", "KL from base", "loss", "nats/token"),
    Column("general_text_agreement", "next-token agreement", "share"),
    Column("panel_share_change", "panel: change of share right", "loss_change"),
    Column("panel_lost", "panel: lost", "count", "items"),
    Column("panel_gained", "panel: gained", "count", "items"),
)
TYPOS = (
    Column("typos_score", "score under typos", "score"),
    Column("typos_agreement", "same prediction under typos", "share"),
)
PARAPHRASES = (
    Column("paraphrases_mean_score", "score in other templates: mean", "score"),
    Column("paraphrases_lowest_score", "lowest", "score"),
    Column("paraphrases_agreement", "same prediction in other templates", "share"),
)
BITS_PER_BYTE = (
    Column("val_bits_per_byte", "validation loss by byte", "loss", "bits/byte"),
    Column("base_val_bits_per_byte", "base's validation loss by byte", "loss", "bits/byte"),
)
ENDED = (Column("answers_ended", "answers that ended by themselves", "share"),)
SECONDS = (Column("total_seconds", "wall time", "seconds", "s"),)
STATUS = (Column("status", "status", "text"),)
RANK = (Column("rank", "r", "count"),)


def score_columns(quality: dict[str, str]) -> tuple[Column, ...]:
    """Columns of the scores, given column -> field of the record."""
    # Classes judged by the likelihood of their words have a loss a token; those of a head have one a text.
    head = "accuracy" in quality and "accuracy_normalised" not in quality
    return tuple(
        Column(key, TITLES["val_loss"], "loss", "nats/text" if head else "nats/token")
        if path == "quality.val_loss"
        else Column(key, title_of(key), "score")
        for key, path in quality.items()
    )


def change_columns(comparison: Comparison, frame: pd.DataFrame) -> tuple[Column, ...]:
    """The main score's change from the base, and p-values where there are any."""
    score, against = comparison.score, comparison.against
    if score is None:
        return ()
    kind: Kind = "points" if score in frame and (frame[score].abs() > 1.5).any() else "loss_change"
    tested = (Column("p_holm", f"p against {against} [Holm]", "p"),) if against else ()
    return (Column("change", f"change of {title_of(score)} [95% interval]", kind), *tested)


def memory_columns(frame: pd.DataFrame) -> tuple[Column, ...]:
    """Peaks of what tensors hold; for records of before it was counted, those of `device_columns`."""
    known = frame[[column.key for column in TENSORS]].notna().any(axis=None)
    return TENSORS if known else device_columns(frame)


def device_columns(frame: pd.DataFrame) -> tuple[Column, ...]:
    """Peaks of CUDA memory, of resident memory, or of both where rows of both kinds of device stand together."""
    cuda, rss = (bool(frame[[column.key for column in kind]].notna().any(axis=None)) for kind in (CUDA, RSS))
    return CUDA + RSS if cuda and rss else CUDA if cuda else RSS


def written(kind: Kind, values: Iterable[float]) -> tuple[str, list[str]]:
    """The unit that the kind and the known values suggest (or ""), and each known value as text."""
    numbers = [float(value) for value in values]
    unit, write = writer(kind, numbers)
    return unit, [write(number) for number in numbers]


def writer(kind: Kind, values: Iterable[float]) -> tuple[str, Callable[[float], str]]:
    """The unit that the kind and the known values of a column suggest (or ""), and what writes one of them."""
    unit, size, spec = form(kind, [float(value) for value in values])

    def write(number: float) -> str:
        if kind == "p" and number < 0.001:
            return "<0.001"
        return signed(format(number / size, spec if number or not unit else ",.0f"))

    return unit, write


def form(kind: Kind, numbers: list[float]) -> tuple[str, float, str]:
    """How a column of these numbers is written: its unit ("" for that of the column), what one unit is, and Python's
    format of a number of units."""
    largest = max((abs(number) for number in numbers), default=0.0)
    if kind in ("disk", "memory"):
        unit, size = byte_unit(numbers, DISK_UNITS if kind == "disk" else MEMORY_UNITS)
        # Peaks are close to one another: rows a tenth apart must not look alike.
        places = 2 if kind == "memory" and largest < 10 * size else 1
        return unit, size, f",.{places if size > 1 else 0}f"
    forms: dict[str, str] = {
        "count": ",.0f" if all(number == int(number) for number in numbers) else ",.1f",
        "signed_percent": "+.2f",
        "percent": ".3g" if largest < 99.5 else ".4g",
        "speed": ",.0f" if largest >= 100 else ".1f",
        "loss": ".3f",
        "loss_change": "+.3f",
        "share": ".3f",
        # Scores are stored in each metric's usual unit, 0 to 100 or 0 to 1.
        "score": ".2f" if largest > 1.5 else ".3f",
        "points": "+.2f",
        "seconds": ",.0f" if largest >= 100 else ".1f",
        "general": "g",
        "p": ".3f",
    }
    return "", 1.0, forms[kind]


def byte_unit(numbers: list[float], units: tuple[tuple[str, float], ...]) -> tuple[str, float]:
    """The largest unit in which no value but 0 is below 1, with its size in bytes."""
    smallest = min((abs(number) for number in numbers if number), default=0.0)
    return next(((unit, size) for unit, size in units if smallest >= size), ("bytes", 1.0))


def signed(text: str) -> str:
    """A number with a real minus sign, and none before a value that is rounded to 0."""
    digits = text.lstrip("+-")
    if not any(character in "123456789" for character in digits):
        return digits
    return text.replace("-", MINUS) if text.startswith("-") else text
