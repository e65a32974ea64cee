"""The notes under a table: what each mark means, and what the numbers do not say."""

from __future__ import annotations

from harness.metrics._bootstrap import RESAMPLES
from harness.results import Record
from reports.compare import BASE, BEST, STILL, TIED, WORSE, Comparison
from reports.frame import why_missing
from reports.protocol import either, seeds, sweep_done
from reports.read import Sweep

DAGGER = "\N{DAGGER}"


class Notes:
    """Numbered notes; equal texts share a number."""

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}

    def mark(self, text: str) -> tuple[str, ...]:
        """The mark of a note, new or known."""
        return (self._numbers.setdefault(text, str(len(self._numbers) + 1)),)

    @property
    def marked(self) -> list[tuple[str, str]]:
        """(mark, text) in the order of the marks."""
        return [(mark, text) for text, mark in self._numbers.items()]


def at_step(record: Record) -> str:
    """Where a run stopped, if it is known."""
    return "" if record.step is None else f" at step {record.step}"


def explanations(sweep: Sweep, comparison: Comparison, shown: list[str]) -> list[str]:
    """What the marks and verdicts of this table mean, and why rows are not ranked if they are not."""
    if not sweep.done:
        return ["No run is done, so there is nothing to compare."]
    verdicts = [comparison.verdicts[run.id] for run, _ in sweep.done if run.id in comparison.verdicts]
    words = {verdict.word for verdict in verdicts}
    lines = []
    if BEST in words or any(verdict.interval for verdict in verdicts):
        lines.append(intervals(sweep))
    if STILL in words:
        lines.append(f"{DAGGER} {STILL}: the interval of the change contains 0; not ranked.")
    if "verdict" in shown and comparison.differing:
        lines.append(refusal(comparison))
    elif "verdict" in shown:
        lines += ranking(words, all(verdict.interval or verdict.word == BASE for verdict in verdicts))
    lines += [f"{run.label}: {warning}" for run, record in sweep.done for warning in record.warnings]
    return lines


def intervals(sweep: Sweep) -> str:
    """What the intervals are, and what they leave out."""
    done = sweep_done(sweep)
    examples = either(done, lambda record: str(record.test_examples))
    return (
        f"Intervals: 95%, by a paired bootstrap ({RESAMPLES} resamples of the {examples} test examples, the same for "
        f"all rows); changes are against the zero-shot row. They cover the choice of test examples, not the "
        f"randomness of training: {seeds(done)}."
    )


def ranking(words: set[str], all_known: bool) -> list[str]:
    """What the verdicts mean."""
    lines = []
    if BEST in words:
        tied = f"; {TIED}: the paired 95% interval of its distance to the best contains 0" if TIED in words else ""
        which = "moved" if all_known else "are not known to have stayed where the base is"
        lines.append(f"{BEST}: highest BLEU of the rows that {which}{tied}. No other ranking is made.")
    if WORSE in words:
        lines.append(f"{WORSE}: the whole interval of the change lies below 0; not ranked.")
    return lines


def refusal(comparison: Comparison) -> str:
    """Which fields differ that should not."""
    fields = []
    for name, values in comparison.differing.items():
        told = "; ".join(f"{value}: {', '.join(labels)}" for value, labels in values.items())
        fields.append(f"{name} ({told})")
    return f"Not ranked, since the rows differ in more than the table is about: {', '.join(fields)}."


def absences(sweep: Sweep, columns: list[tuple[str, str]]) -> list[str]:
    """One line for the columns that no row has a value for, given (title, field), with the reasons."""
    if not sweep.done:
        return []
    reasons = [(title, {why_missing(record, field) for _, record in sweep.done}) for title, field in columns]
    told = [f"{title} ({'; '.join(sorted(why))})" for title, why in reasons]
    return [f"Left out, since no row has a value: {', '.join(told)}."] if told else []
