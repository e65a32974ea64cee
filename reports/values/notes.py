"""The notes under a table: what each mark means, and what the numbers do not say."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from harness.metrics.tools.bootstrap import RESAMPLES
from harness.results.lm_eval import LmEvalTask
from harness.results.record import Record
from reports.read.rows import SEED, Group, rate, rate_sets, untuned
from reports.read.runs import Sweep
from reports.statistics.paired import FAMILY, SHUFFLES
from reports.statistics.scores import chosen_by, floor, title_of
from reports.statistics.verdicts import BASE, BELOW, BEST, EXAMPLES, STILL, TIED, UNSURE, WORSE, Comparison, is_trained
from reports.values.frame import why_missing
from reports.values.protocol import either, seeds, sweep_done

DAGGER, DOUBLE_DAGGER = "\N{DAGGER}", "\N{DOUBLE DAGGER}"
TIMINGS = ("train_tokens_per_second", "total_seconds")
"""Columns of which rows on different hardware say nothing to each other."""
NOISY = "timed on a noisy machine; --table speed says what disturbed it"
LOW_RANK = "is above the smaller side of"
"""In a record's warning that a rank is no low one."""
MOST = 8
"""Labels that a note lists."""


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


def noisy(record: Record) -> bool:
    """The record says that its times are not to be trusted."""
    return record.machine is not None and bool(record.machine.noisy)


def at_step(record: Record) -> str:
    """Where a run stopped, if it is known."""
    return "" if record.step is None else f" at step {record.step}"


def explanations(sweep: Sweep, rows: Sequence[Group], comparison: Comparison, shown: Sequence[str]) -> list[str]:
    """What the marks and verdicts of this table mean, and why rows are not ranked if they are not."""
    if not sweep.done:
        return ["No run is done, so there is nothing to compare."]
    done = [row for row in rows if row.runs[0].done]
    verdicts = [comparison.verdicts[row.runs[0].id] for row in done if row.runs[0].id in comparison.verdicts]
    words = {verdict.word for verdict in verdicts}
    lines = []
    if any(len(row.runs) > 1 for row in done):
        lines.append("Mean \N{PLUS-MINUS SIGN} sample standard deviation over the seeds of a row.")
    if BEST in words or any(verdict.interval for verdict in verdicts):
        lines.append(intervals(sweep, done))
    if any(verdict.p is not None for verdict in verdicts):
        lines += tests(comparison)
    if comparison.too_many:
        lines.append(f"No p: for more than {FAMILY} rows {SHUFFLES:,} shuffles leave none below 0.05 after Holm.")
    if STILL in words:
        lines.append(f"{DAGGER} {STILL}: the interval of the change contains 0; not ranked.")
    if comparison.hardware and set(shown) & set(TIMINGS):
        lines.append(
            f"{DOUBLE_DAGGER} not comparable between rows, made on different hardware: {told(comparison.hardware)}."
        )
    if "answers_ended" in shown:
        lines.append("Answers that ended by themselves: their share; the others were cut at eval.max_new_tokens.")
    if "verdict" in shown and comparison.differing:
        lines.append(
            f"Not ranked, since the rows differ in more than the table is about: {told(comparison.differing)}."
        )
        if EXAMPLES not in comparison.differing:
            lines[-1] += f" To rank them all the same: --allow {','.join(comparison.differing)}."
    elif "verdict" in shown:
        known = all(verdict.interval or verdict.word == BASE for verdict in verdicts)
        lines += ranking(comparison, words, known)
    if "verdict" in shown:
        lines += puzzles(comparison, done)
    if comparison.allowed:
        lines.append(f"Ignored, as --allow says, though rows differ in it: {told(comparison.allowed)}.")
    if comparison.score:
        lines += rates(done)
    lines += lm_eval(done)
    warned = [f"{row.label}: {warning}" for row in done for record in row.records for warning in record.warnings]
    return lines + [line for line in dict.fromkeys(warned) if LOW_RANK not in line]


def intervals(sweep: Sweep, rows: Sequence[Group]) -> str:
    """What the intervals are, and what they leave out."""
    done = sweep_done(sweep)
    examples = either(done, lambda record: str(record.test_examples))
    sizes = sorted({len(row.runs) for row in rows if is_trained(row.records[0])})
    over_seeds = (
        f"They cover the choice of test examples and, where a row has several (n = {', '.join(map(str, sizes))}), of "
        f"seeds: to each resample's mean over seeds comes the standard error over them times a draw of Student's t; "
        f"differences are taken seed by seed{_not_shared(rows)}"
    )
    one = f"They cover the choice of test examples, not the randomness of training: {seeds(done)}"
    return (
        f"Intervals: 95%, by a paired bootstrap ({RESAMPLES} resamples of the {examples} test examples, the same for "
        f"all rows); changes are against the zero-shot row. {over_seeds if sizes[-1:] > [1] else one}."
    )


def _not_shared(rows: Sequence[Group]) -> str:
    """Which rows of several seeds have no two in common with another such row: their seeds count as independent."""
    seeds_of = {
        row.label: {record.flat_key.get(SEED) for record in row.records}
        for row in rows
        if len(row.runs) > 1 and is_trained(row.records[0])
    }
    apart = [
        name
        for name, own in seeds_of.items()
        if any(len(own & other) < 2 for other in seeds_of.values() if other != own)
    ]
    return f", but of rows that share fewer than two ({some(apart)}) as if seeds were independent" if apart else ""


def tests(comparison: Comparison) -> list[str]:
    """What the p-values are, and how small a difference could have been found."""
    against, least = comparison.against, comparison.detectable
    low, middle, high = (f"{value:.2g}" for value in (min(least), median(least), max(least)))
    title = title_of(comparison.score or "")
    several = any(len(row.runs) > 1 for row in comparison.rows if is_trained(row.records[0]))
    others = "other examples and as many other seeds" if several else "other examples, of these trained models"
    return [
        f"p: two-sided, of the difference to {against}, by approximate randomization ({SHUFFLES:,} shuffles of test "
        f"examples, these trained models taken as they are); adjusted by Holm for the family of {len(least)}.",
        f"Minimum detectable difference of {title} to {against} (80% power, two-sided 5%, with {others}): {middle} in "
        f"the middle, {low} to {high}."
        if max(least) > 0
        else f"Minimum detectable difference of {title} to {against}: not known, since no example's score differs.",
    ]


def ranking(comparison: Comparison, words: set[str], all_known: bool) -> list[str]:
    """What the verdicts mean."""
    lines = []
    score, lower = comparison.score or "", comparison.better == "lower"
    if comparison.better == "neither":
        lines.append(f"Not ranked: neither more nor less {title_of(score)} is better.")
    if BEST in words:
        tied = (
            f"; {TIED}: the 95% interval of its distance to the best contains 0, or the adjusted p is not below 0.05"
            if TIED in words
            else ""
        )
        which = "moved and beat what needs no model" if comparison.floored else "moved"
        which = which if all_known else "are not known to have stayed where the base is"
        lines.append(
            f"{BEST}: {'lowest' if lower else 'highest'} {title_of(score)} of the rows that {which}{tied}. "
            f"No other ranking is made."
        )
    if WORSE in words:
        side = "worse" if lower else "lies below 0"
        lines.append(f"{WORSE}: the whole interval of the change {'is ' * lower}{side}; not ranked.")
    return lines


def puzzles(comparison: Comparison, rows: Sequence[Group]) -> list[str]:
    """Why a row of a better score than the best is not the best, and what a row has not beaten that needs no model."""
    score = comparison.score or ""
    known = [(row, verdict) for row in rows if (verdict := comparison.verdicts.get(row.id))]
    lines = []
    if above := [row.label for row, verdict in known if verdict.aside == UNSURE]:
        lines.append(
            f"{some(above)}: a better {title_of(score)} than the best, but over these examples and seeds the change "
            f"from the base may as well be none ({UNSURE}). Best is said of rows whose change is sure; more seeds or "
            "examples would tell."
        )
    for called in dict.fromkeys(verdict.below for _, verdict in known if verdict.below):
        floors = [floor(row.records, score) for row, verdict in known if verdict.below == called]
        values = sorted({f"{each.name} {each.value:.4g}" for each in floors if each})
        lines.append(
            f"{BELOW.format(called)}: {title_of(score)} is not above what needs no model ({', '.join(values)}); such a "
            "row is neither best nor tied, since nothing shows that anything was learned."
        )
    return lines


def rates(rows: Sequence[Group]) -> list[str]:
    """What comparing rows at the learning rates that were run leaves open."""
    single = untuned(rows)
    lines = [_tuned(tuned)] if (tuned := [row for row in rows if row.tuned]) else []
    if not single:
        return lines
    values = {rate(row) for row in single}
    which = f"all at {values.pop():g}" if len(values) == 1 else "chosen for each"
    rows_of = "each row" if len(single) == len(rate_sets(rows)) else some([row.label for row in single])
    return [
        *lines,
        f"One learning rate ({which}) was run of {rows_of}: differences are confounded with it, since another rate may "
        f"suit a row better. Give tune=lr, or sweep method.lr and see --table lr.",
    ]


def _tuned(rows: Sequence[Group]) -> str:
    """How rows were tuned."""
    chosen = [row.tuned for row in rows if row.tuned]
    settings = " and ".join(sorted({each.setting for each in chosen}))
    edges = [row.label for row in rows if row.tuned and row.tuned.edge]
    failed = [row.label for row in rows if row.tuned and row.tuned.value is None]
    by = chosen_by(chosen)
    line = f"{settings}: chosen for each row by {by}, under seeds that are not these; see --table tuned."
    if edges:
        line += f" {some(edges)}: the best lies at the edge of the grid, so that a better one may lie beyond."
    if failed:
        line += f" {some(failed)}: every trial failed, so that the row has its own value."
    return line


def lm_eval(rows: Sequence[Group]) -> list[str]:
    """How tasks of lm-evaluation-harness were asked, and how many examples were too long. Rows share a line where they
    share what it says."""
    said: dict[str, list[str]] = {}
    tasks_of = {row.label: row.records[0].lm_eval for row in rows if row.records[0].lm_eval}
    for label, tasks in tasks_of.items():
        known = {name: task for name, task in tasks.items() if task.chat_template is not None}
        if not known:
            continue
        asked = ", ".join(f"{name} {_shots(task)} ({task.examples:,} examples)" for name, task in known.items())
        chat = any(task.chat_template for task in known.values())
        how = "by the model's chat template" if chat else "without a chat template"
        said.setdefault(f"{asked}; asked {how}.", []).append(label)
        if long := [f"{task.cut:,} of {name}" for name, task in known.items() if task.cut]:
            cut = f"too long for the model, so that they lost their beginning: {', '.join(long)}."
            said.setdefault(cut, []).append(label)
    return [
        f"lm-evaluation-harness: {line}{'' if len(labels) == len(tasks_of) else f' So {some(labels)}.'}"
        for line, labels in said.items()
    ]


def _shots(task: LmEvalTask) -> str:
    return (
        "with as many solved examples as each of its tasks says"
        if task.num_fewshot is None
        else f"{task.num_fewshot}-shot"
    )


def told(fields: dict[str, dict[str, list[str]]]) -> str:
    """Fields that differ: each value, and which rows have it."""
    return ", ".join(
        f"{name} ({'; '.join(f'{value}: {some(labels)}' for value, labels in values.items())})"
        for name, values in fields.items()
    )


def some(labels: Sequence[str]) -> str:
    """The labels, or the first of many."""
    return ", ".join(labels) if len(labels) <= MOST else f"{', '.join(labels[:MOST])} and {len(labels) - MOST} more"


def absences(sweep: Sweep, columns: list[tuple[str, str]]) -> list[str]:
    """One line for the columns that no row has a value for, given (title, field), with the reasons."""
    if not sweep.done:
        return []
    reasons = [(title, {why_missing(record, field) for _, record in sweep.done}) for title, field in columns]
    parts = [f"{title} ({'; '.join(sorted(why))})" for title, why in reasons]
    return [f"Left out, since no row has a value: {', '.join(parts)}."] if parts else []
