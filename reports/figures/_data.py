"""What figures draw: rows (finished runs that differ only in the seed), their values with intervals, and a caption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from harness.results.record import Record
from reports.read.rows import groups
from reports.read.run import Run, show
from reports.read.runs import Sweep, UnusablePredictions, finite
from reports.statistics.intervals import How, Interval, SeedSummary, positive_summary, seed_summary
from reports.statistics.paired import interval
from reports.statistics.scores import better, floor, main_score, over_seeds
from reports.statistics.verdicts import is_trained
from reports.values.columns import Column, score_columns
from reports.values.frame import quality_column, quality_columns, value_at
from reports.values.notes import some
from reports.values.protocol import either, seeds

HOW: dict[How, str] = {
    "t": "95%, over seeds (Student's t)",
    "log t": "95%, over seeds (Student's t of logarithms, around the geometric mean)",
    "range": "the range of two seeds, around their geometric mean",
}
"""What a bar over seeds is."""
LONGEST = 40
"""Characters of a label that are drawn."""


class NoData(Exception):
    """A figure that this sweep has no data for; the message says why."""


@dataclass(frozen=True)
class Value:
    """The mean over a row's seeds."""

    mean: float
    interval: Interval | None
    """95%: of a score with values by example, their bootstrap (and seeds); else of seeds, where there are several."""
    by_example: bool = False
    """The interval covers the choice of test examples."""
    how: How = "t"
    """What it is over seeds."""


@dataclass(frozen=True)
class Row:
    """Finished runs that differ only in the seed."""

    label: str
    """Differs between the rows of a figure."""
    runs: tuple[Run, ...]

    @cached_property
    def records(self) -> list[Record]:
        """Those of its runs."""
        return [record for run in self.runs if (record := run.done)]

    @property
    def method(self) -> str:
        """Its name."""
        return self.records[0].method

    @property
    def trained(self) -> bool:
        """Not a baseline."""
        return is_trained(self.records[0])

    def value(self, path: str) -> Value | None:
        """The number at a dotted path of the record, a cost, where every seed has one."""
        return mean([value_at(record, path) for record in self.records], positive_summary)

    def score(self, name: str) -> Value | None:
        """The same of a score, with the interval over test examples where they are known."""
        over_the_seeds = mean([finite(record.quality.get(name)) for record in self.records], partial(over_seeds, name))
        try:
            return over_the_seeds and Value(over_the_seeds.mean, interval(self.runs, name), by_example=True)
        except UnusablePredictions:
            return over_the_seeds


def mean(
    values: Sequence[float | None], summarise: Callable[[Sequence[float]], SeedSummary] = seed_summary
) -> Value | None:
    """The mean over seeds and its interval; None where a seed has no value."""
    known = [float(value) for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    summary = summarise(known)
    return Value(summary.mean, summary.interval, how=summary.how)


def over_seeds_said(values: Iterable[Value]) -> str:
    """What bars over seeds are, as a sentence without its end; nothing where there are none."""
    wide = [value for value in values if value.interval and value.interval.low < value.interval.high]
    hows = {value.how for value in wide if not value.by_example}
    texts = [text for how, text in HOW.items() if how in hows]
    return "; ".join(texts)


def along(value: Value) -> list[float]:
    """Places along its bar, which labels keep away from."""
    ends = value.interval
    return [ends.low + (ends.high - ends.low) * i / 8 for i in range(9)] if ends else []


@dataclass(frozen=True)
class Data:
    """A sweep as figures see it."""

    sweep: Sweep
    rows: tuple[Row, ...]
    score: str
    """The score that rows are compared by."""

    @cached_property
    def scores(self) -> dict[str, Value]:
        """Of each row that has it, by label."""
        values = {row.label: row.score(self.score) for row in self.rows}
        return {label: value for label, value in values.items() if value}

    def title(self, score: str) -> str:
        """A score's name with its unit, where it has one."""
        columns = score_columns(quality_columns(self.sweep))
        known = next(
            (column for column in columns if column.key == quality_column(score)), Column(score, score, "score")
        )
        return f"{known.title} [{known.unit}]" if known.unit else known.title

    @property
    def main(self) -> str:
        """The title of the score that rows are compared by."""
        return self.title(self.score)

    @property
    def ascending(self) -> bool:
        """Whether more of the score is better."""
        return better(self.records, self.score) != "lower"

    @property
    def records(self) -> list[Record]:
        """Of all rows."""
        return [record for row in self.rows for record in row.records]

    @property
    def several(self) -> bool:
        """Whether a row has several seeds."""
        return any(len(row.runs) > 1 for row in self.rows)

    def seeds(self) -> str:
        """How many seeds there are, as a sentence, and how many runs are not there."""
        counted = seeds(self.records)
        missing = sum(run.done is None for run in self.sweep.runs)
        lost = f" {missing} of {len(self.sweep.runs)} runs failed or were not run." if missing else ""
        return f"{counted[:1].upper()}{counted[1:]}.{lost}"

    def caption(self) -> str:
        """n, seeds, and what the bars are."""
        examples = either(self.records, lambda record: show(record.test_examples))
        values = self.scores.values()
        covered = ["test examples (bootstrap)"] if any(value.by_example for value in values) else []
        covered += ["seeds (Student's t)"] if self.several else []
        if self.several and not any(value.by_example for value in values):
            bars = f"Bars: {over_seeds_said(values) or 'none'}."
        elif covered:
            bars = f"Bars: 95%, over {' and '.join(covered)}{'' if self.several else ', not over training'}."
        else:
            bars = f"No bars: {self.main} has no values by example, and there is one seed."
        return " ".join(filter(None, (f"{examples} test examples.", self.seeds(), bars, self.below())))

    def below(self) -> str:
        """Which rows do not beat an answer that needs no model, as a sentence."""
        floors = {row.label: floor(row.records, self.score) for row in self.rows if row.label in self.scores}
        under = {label: each for label, each in floors.items() if each and self.scores[label].mean <= each.value}
        if not under:
            return ""
        values = ", ".join(sorted({f"{each.called} ({each.value:.4g})" for each in under.values()}))
        return f"Not above {values}, which needs no model: {some(list(under))}."


def data_of(sweep: Sweep) -> Data:
    """The rows of a sweep. Raises NoData where no run is finished."""
    if not sweep.done:
        raise NoData(f"none of its {len(sweep.runs)} runs is finished")
    rows = tuple(_told_apart([Row(" ".join(group.label.split()), group.runs) for group in groups(sweep)]))
    return Data(sweep, rows, main_score([record for _, record in sweep.done]) or "val_loss")


def _told_apart(rows: Sequence[Row]) -> list[Row]:
    """Rows of equal labels get the settings in which they differ, or a number, and long labels are cut."""
    named: list[Row] = []
    for row in rows:
        alike = [other.records[0].flat_key for other in rows if other.label == row.label]
        own = row.records[0].flat_key
        names = [name for name in own if len({show(key.get(name)) for key in alike}) > 1]
        settings = " ".join(f"{name.rpartition('.')[2]}={show(own[name])}" for name in names[:2])
        label = f"{row.label} {settings}".strip()
        named.append(replace(row, label=label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"))
    times = Counter(row.label for row in named)
    return [replace(row, label=f"{row.label} #{n}") if times[row.label] > 1 else row for n, row in enumerate(named, 1)]
