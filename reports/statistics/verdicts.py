"""Which rows may be compared, and what resampled examples and seeds say of them. No other ranking is made anywhere.

A row is a run, or the runs that differ only in the seed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from harness.errors import UserError, nearest, nearest_key
from harness.results.record import Record
from harness.results.sections import Better
from reports.read.rows import SEED, Group, groups, untuned, without
from reports.read.run import ABOUT, HARDWARE, show
from reports.read.runs import Sweep, UnusablePredictions, finite
from reports.statistics.intervals import ALPHA, Interval, holm
from reports.statistics.paired import FAMILY, Difference, Sampled, compared, distance, sample
from reports.statistics.scores import better, floor, main_score

BASE = "the base"
BEST = "best"
TIED = "tied with best"
STILL = "did not move"
WORSE = "below the base"
BELOW = "below {}"
"""Of a row that does not beat an answer that needs no model."""
OF_MOVED = "of the rows that moved"
OF_KNOWN = "of the rows whose examples are known"
UNSURE = "its interval contains 0"
"""What is said of the best and of a row that did not move where that one's score is the better."""

TRAINING = ("settings.train", SEED)
"""What an untrained row cannot differ in."""
SAME_BASE = (
    "settings.method",
    "settings.roles",
    "settings.modules",
    "settings.eval.score",
    "settings.forgetting",
    "repeat",
    *TRAINING,
)
"""What a row may differ in from the untouched base that it is compared with."""
EXAMPLES = "indices of the test examples"
"""What rows differ in, though no field of their keys tells, and cannot be compared in spite of."""


@dataclass(frozen=True)
class Verdict:
    """What is known of one finished row."""

    word: str = ""
    """One of BASE, BEST, TIED, STILL, WORSE, or nothing."""
    below: str = ""
    """What needs no model and is as good or better, as in `a constant answer`; such a row is neither best nor tied."""
    aside: str = ""
    """What the word alone would leave open: OF_MOVED, OF_KNOWN, UNSURE, or nothing."""
    change: float | None = None
    """The row's score minus that of the untouched base."""
    interval: Interval | None = None
    """Of the change, 95%."""
    unknown: str | None = None
    """Why there is no interval."""
    at_these_rates: bool = False
    """It is the best, or tied with it, among rows of which some have a learning rate that nobody searched."""
    p: float | None = None
    """Of the difference to the row that `Comparison.against` names, adjusted by Holm."""

    @property
    def text(self) -> str:
        """As tables say it."""
        word = f"{self.word} at these rates" if self.at_these_rates else self.word
        return ", ".join(filter(None, (word, self.aside, self.below and BELOW.format(self.below))))


@dataclass(frozen=True)
class Comparison:
    """Verdicts by run id, each run with its row's, and what stands in the way of ranking the rows."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    differing: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """By field of the key that should be equal and is not: for each value, the labels of its rows."""
    score: str | None = None
    """What rows are compared by; None where no record has a score."""
    better: Better = "higher"
    """Which values of it are; `neither`: rows are not ranked."""
    rows: tuple[Group, ...] = ()
    """The finished rows."""
    allow: tuple[str, ...] = ()
    """Fields that the reader chose to ignore."""
    allowed: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """As `differing`, of those fields."""
    hardware: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """As `differing`, of HARDWARE: timings are not comparable."""
    against: str | None = None
    """The label of the row that p-values are against."""
    detectable: tuple[float, ...] = ()
    """For each row with a p-value the minimum detectable difference to `against`."""
    floored: bool = False
    """A row that moved is not ranked, since it does not beat what needs no model."""
    too_many: bool = False
    """There are more rows than p-values by shuffles can tell apart."""


@dataclass(frozen=True)
class _Scored:
    """A finished row and its score under resampling."""

    row: Group
    sampled: Sampled

    @property
    def record(self) -> Record:
        return self.row.records[0]


def is_zero_shot(record: Record) -> bool:
    """Whether a row is the untouched base itself."""
    return record.method.replace("-", "_") == "zero_shot"


def is_trained(record: Record) -> bool:
    """Whether a row was trained; a baseline that cannot be has nothing trainable."""
    return not is_zero_shot(record) and (record.parameters is None or record.parameters.trainable > 0)


def compare(sweep: Sweep, score: str | None = None, allow: Sequence[str] = ()) -> Comparison:
    """The verdicts of a sweep's finished rows by `score` (None: the main one), differences in the fields `allow`
    ignored. Raises UserError for a score or field that no record has."""
    rows = groups(sweep)
    _known(sweep, score, allow)
    name = score or main_score(sweep.recorded)
    differences = differing_fields(rows)
    hardware, rest = _split(differences, HARDWARE)
    allowed, differing = _split(rest, tuple(allow))
    scored, verdicts = _scored(rows, name)
    direction = better(sweep.recorded, name or "")
    bases = [each for each in scored if is_zero_shot(each.record)]
    changes = {each.row.id: _against_base(each, bases, name or "", direction, tuple(allow)) for each in scored}
    verdicts |= {row: verdict for row, (verdict, _) in changes.items()}
    verdicts |= {row.id: Verdict(BASE) for row in rows if is_zero_shot(row.records[0])}
    verdicts = {row.id: replace(verdicts[row.id], below=_below(row, name or "")) for row in rows}
    if len(sets := {each.sampled.indices: each.row.label for each in scored}) > 1:
        differing[EXAMPLES] = {f"set {n}": [label] for n, label in enumerate(sets.values(), 1)}
    # One row beside the base is not the best of anything.
    moved = [each for each in scored if verdicts[each.row.id].word not in (BASE, STILL, WORSE)]
    ranked = [each for each in moved if not verdicts[each.row.id].below]
    rank = not differing and direction != "neither" and sum(not is_zero_shot(each.record) for each in scored) > 1
    comparison = Comparison(verdicts, differing, name, direction, tuple(rows), tuple(allow), allowed, hardware)
    comparison = replace(comparison, floored=len(ranked) < len(moved))
    if rank and ranked:
        comparison = _ranked(comparison, ranked)
        comparison = _outscored(comparison, scored)
    elif bases:
        pairs = [(each, base) for each in scored if (base := changes[each.row.id][1])]
        comparison = _tested(comparison, pairs, bases[0].row.label)
    shared = {run.id: comparison.verdicts[row.id] for row in rows for run in row.runs}
    return replace(comparison, verdicts=shared)


def _known(sweep: Sweep, score: str | None, allow: Sequence[str]) -> None:
    """Raise UserError for a score or a field of the key that no record has."""
    scores = {name for record in sweep.recorded for name in record.quality}
    if score is not None and score not in scores:
        raise UserError(f"--score {score}: no record of {sweep.name} has it; {nearest(score, sorted(scores))}")
    fields = {"test_examples"}
    for record in sweep.recorded if allow else ():
        for name in record.flat_key:
            parts = name.split(".")
            fields |= {".".join(parts[: length + 1]) for length in range(len(parts))}
    if unknown := [name for name in allow if name not in fields]:
        raise UserError(
            *(f"--allow {name}: no field of the records' keys; {nearest_key(name, sorted(fields))}" for name in unknown)
        )


def differing_fields(rows: Sequence[Group]) -> dict[str, dict[str, list[str]]]:
    """Fields outside what the table is about that are not equal in every row: value -> labels of its rows.

    Seeds may differ where every row has several: what they change is then known.
    """
    single = any(len(row.runs) == 1 and is_trained(row.records[0]) for row in rows)
    flat, mixed = [], set()
    for row in rows:
        record = row.records[0]
        fields = without(record.flat_key, (*ABOUT, SEED)) | {"test_examples": record.test_examples}
        if single and SEED in record.flat_key:
            fields[SEED] = ", ".join(sorted({show(each.flat_key[SEED]) for each in row.records}))
        for name in HARDWARE:
            if len(machines := sorted({show(each.flat_key.get(name)) for each in row.records})) > 1:
                fields[name] = " and ".join(machines)
                mixed.add(name)
        flat.append(fields)
    trained = [is_trained(row.records[0]) for row in rows]
    differences: dict[str, dict[str, list[str]]] = {}
    for name in dict.fromkeys(name for fields in flat for name in fields):
        every = bool(without({name: None}, TRAINING))
        those = [(row, fields) for row, fields, is_ in zip(rows, flat, trained, strict=True) if every or is_]
        if name not in mixed and all(name in fields and fields[name] == those[0][1].get(name) for _, fields in those):
            continue
        values: dict[str, list[str]] = defaultdict(list)
        for row, fields in those:
            values[show(fields[name]) if name in fields else "not recorded"].append(row.label)
        if len(values) > 1 or name in mixed:
            differences[name] = dict(values)
    return differences


def _split(
    differences: dict[str, dict[str, list[str]]], names: tuple[str, ...]
) -> tuple[dict[str, dict[str, list[str]]], dict[str, dict[str, list[str]]]]:
    """The fields that `names` names, and the others."""
    others = without(differences, names)
    return {name: values for name, values in differences.items() if name not in others}, others


def _scored(rows: Sequence[Group], score: str | None) -> tuple[list[_Scored], dict[str, Verdict]]:
    """The rows whose predictions can be used, and for the others a verdict that says why not, by the row's id."""
    scored: list[_Scored] = []
    verdicts: dict[str, Verdict] = {}
    for row in rows:
        try:
            if score is None:
                raise UnusablePredictions("the records have no score")
            scored.append(_Scored(row, sample(row.runs, score)))
        except UnusablePredictions as problem:
            verdicts[row.id] = Verdict(change=_recorded_change(row, score), unknown=str(problem))
    return scored, verdicts


def _recorded_change(row: Group, score: str | None) -> float | None:
    """The change by the records alone; it has no interval."""
    pairs = [(finite(r.quality.get(score or "")), finite(r.base_quality.get(score or ""))) for r in row.records]
    known = [after - before for after, before in pairs if after is not None and before is not None]
    return fmean(known) if len(known) == len(pairs) else None


def _against_base(
    each: _Scored, bases: list[_Scored], score: str, better: Better, allow: tuple[str, ...]
) -> tuple[Verdict, _Scored | None]:
    """The change from the zero-shot row that has the same base, data and decoding; and that row."""
    ignored = (*SAME_BASE, *HARDWARE, *allow)
    conditions = without(each.record.flat_key, ignored)
    same = [base for base in bases if without(base.record.flat_key, ignored) == conditions]
    same = [base for base in same if base.sampled.indices == each.sampled.indices]
    if not same:
        like = " with the same base, data, decoding and environment" if bases else ""
        unknown = f"the sweep has no finished zero-shot row{like}"
        return Verdict(change=_recorded_change(each.row, score), unknown=unknown), None
    change = distance(each.sampled, same[0].sampled)
    below = {"lower": change.low > 0, "higher": change.high < 0, "neither": False}[better]
    word = STILL if change.contains_zero else WORSE if below else ""
    return Verdict(word, change=each.sampled.value - same[0].sampled.value, interval=change), same[0]


def _ranked(comparison: Comparison, rows: list[_Scored]) -> Comparison:
    """With the best row, and those that neither interval nor corrected test tells from it. They share their test
    examples."""
    best = (min if comparison.better == "lower" else max)(rows, key=lambda each: each.sampled.value)
    others = [each for each in rows if each is not best]
    tested = _tested(comparison, [(each, best) for each in others], best.row.label)
    verdicts = dict(tested.verdicts)
    unsearched = bool(untuned(comparison.rows))
    verdicts[best.row.id] = replace(verdicts[best.row.id], word=BEST, at_these_rates=unsearched)
    for each in others:
        p = verdicts[each.row.id].p
        if (p is not None and p >= ALPHA) or distance(best.sampled, each.sampled).contains_zero:
            verdicts[each.row.id] = replace(verdicts[each.row.id], word=TIED, at_these_rates=unsearched)
    return replace(tested, verdicts=verdicts)


def _outscored(comparison: Comparison, rows: list[_Scored]) -> Comparison:
    """With what it takes to see why a row that did not move is not the best, though its score is better than that."""
    verdicts = dict(comparison.verdicts)
    best = next(each for each in rows if verdicts[each.row.id].word == BEST)
    sign = -1 if comparison.better == "lower" else 1
    still = [each for each in rows if verdicts[each.row.id].word == STILL]
    above = [each.row.id for each in still if sign * (each.sampled.value - best.sampled.value) > 0]
    verdicts |= {row: replace(verdicts[row], aside=UNSURE) for row in above}
    known = {each.row.id for each in rows}
    means = {row.id: _mean(row, comparison.score or "") for row in comparison.rows if row.id not in known}
    unknown = any(mean is not None and sign * (mean - best.sampled.value) > 0 for mean in means.values())
    if above or unknown:
        verdicts[best.row.id] = replace(verdicts[best.row.id], aside=OF_KNOWN if unknown else OF_MOVED)
    return replace(comparison, verdicts=verdicts)


def _below(row: Group, score: str) -> str:
    """What needs no model and is as good as this row or better; nothing where there is none, or where it is not
    known."""
    mean, least = _mean(row, score), floor(row.records, score)
    return least.called if least and mean is not None and mean <= least.value else ""


def _mean(row: Group, score: str) -> float | None:
    """Of a score over a row's seeds; None where one has none."""
    values = [value for record in row.records if (value := finite(record.quality.get(score))) is not None]
    return fmean(values) if values and len(values) == len(row.records) else None


def _tested(comparison: Comparison, pairs: list[tuple[_Scored, _Scored]], against: str) -> Comparison:
    """With p-values of these rows against those, corrected as one family, and what they could detect."""
    pairs = [(each, other) for each, other in pairs if each is not other]
    if not pairs or len(pairs) > FAMILY:
        return replace(comparison, too_many=len(pairs) > FAMILY)
    differences: list[Difference] = [compared(each.sampled, other.sampled) for each, other in pairs]
    verdicts = dict(comparison.verdicts)
    for (each, _), p in zip(pairs, holm([one.p for one in differences]), strict=True):
        verdicts[each.row.id] = replace(verdicts[each.row.id], p=p)
    least = tuple(one.detectable for one in differences)
    return replace(comparison, verdicts=verdicts, against=against, detectable=least)
