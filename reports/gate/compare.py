"""A baseline beside what was measured now: a row a test, and what of it is a regression."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from statistics import fmean, median

from harness.errors import UserError
from reports.gate.entries import Baseline, Entry
from reports.gate.moves import FEWEST, paired, shifts, sign_test
from reports.gate.repeats import BOUNDS, elsewhere, same_computation, unlike
from reports.gate.rows import KINDS, Comparison, Kind, Row, Verdict
from reports.statistics.intervals import holm

ALPHA = 0.01
"""Most likely share of comparisons of unchanged code that report a regression."""
FAMILIES = 4
"""Memory, throughput, scores by run, scores over the suite: each is held to ALPHA / FAMILIES by Holm."""
CUDA_BOUND = 0.005
"""Relative change of memory that CUDA's allocator counts, which is the same from run to run."""
RSS_TOLERANCE = 0.01
"""Relative change of resident memory that is let pass however sure it is."""
RESIDENT = "train_rss_growth"
"""Training's peak; that of scoring is let be, since most of it is the same in every method."""
SPEED_TOLERANCE = 0.10
"""The same of throughput: machines differ as much from one day to the next."""
COUNTS = ("parameters.trainable", "parameters.added", "parameters.total")
"""Exact measures of which any change is a regression; of bytes only a rise is."""


def compare(before: Baseline, after: Baseline, alpha: float = ALPHA, kinds: tuple[Kind, ...] = KINDS) -> Comparison:
    """Every test of these kinds. Raises UserError where the two share no run."""
    keys = {entry.key: name for name, entry in after.runs.items()}
    shared = {name: (entry, after.runs[keys[entry.key]]) for name, entry in before.runs.items() if entry.key in keys}
    if not shared:
        raise UserError(
            f"none of the baseline's {len(before.runs)} runs was measured (settings, model or data differ in each); "
            f"measure {before.sweep} as the baseline was, or accept a new one"
        )
    remarks: list[str] = []
    rows = [
        Row("quality", name, "status", "regression", note=f"it ran before; now {now.failed}")
        for name, (_, now) in shared.items()
        if now.failed
    ]
    ran = {name: pair for name, pair in shared.items() if not pair[1].failed}
    reason = elsewhere(before.machine, after.machine)
    level = alpha / FAMILIES
    for kind in kinds:
        if kind == "parameters":
            rows += _exact(ran)
        elif kind == "quality":
            remarks += _untraced(before, after, ran)
            rows += same_computation(before, after, ran)
            if reason:
                remarks.append(f"Quality: only losses, and of fp32 runs, since {reason}.")
            else:
                rows += [*_by_run(ran, level), *_over_suite(ran, level)]
        elif reason:
            remarks.append(f"{kind.capitalize()}: not compared, since {reason}.")
        elif kind == "throughput":
            pairs = {name: (old.throughput, new.throughput) for name, (old, new) in ran.items()}
            rows += _noisy(kind, "tokens per second", pairs, level, (SPEED_TOLERANCE, -1), remarks)
        else:
            rows += _memory(before, after, ran, level, remarks)
    changed = tuple(
        (name, before.versions.get(name, "none"), after.versions.get(name, "none"))
        for name in sorted({*before.versions, *after.versions})
        if before.versions.get(name, "none") != after.versions.get(name, "none")
    )
    return Comparison(tuple(rows), changed, alpha, tuple(remarks), tuple(_absent(before, after, shared)))


def confirmed(first: Comparison, second: Comparison) -> Comparison:
    """The first comparison, where what may be noise is a regression only if a second measurement says so too."""
    again = {(row.run, row.measure) for row in second.of("regression")}
    rows = tuple(
        Row(row.kind, row.run, row.measure, "same", row.before, row.after, row.p, "not seen in a second measurement")
        if row.verdict == "regression" and row.noisy and (row.run, row.measure) not in again
        else row
        for row in first.rows
    )
    return replace(first, rows=rows)


def _absent(before: Baseline, after: Baseline, shared: dict[str, tuple[Entry, Entry]]) -> Iterator[tuple[str, str]]:
    """Runs that only one side has, and why: the comparison is of the others."""
    for name in before.runs:
        if name not in shared:
            why = "its settings, model or data are others now" if name in after.runs else "it was not measured"
            yield name, why
    old = {entry.key for entry in before.runs.values()}
    for name in (name for name, entry in after.runs.items() if entry.key not in old and name not in before.runs):
        yield name, "it is not in the baseline"


def _untraced(before: Baseline, after: Baseline, runs: dict[str, tuple[Entry, Entry]]) -> Iterator[str]:
    """What there is to say of runs whose losses cannot be compared as they should."""
    if old := sum(not entry.traced for entry, _ in runs.values()):
        yield (
            f"The baseline has neither losses by step nor answers of {old} runs, as earlier versions wrote it: of them "
            "the validation loss alone is compared, within a bound; save it anew (baseline accept)."
        )
    rough = sorted({entry.dtype for entry, _ in runs.values()} - set(BOUNDS))
    if rough and unlike(before, after):
        yield f"Losses of runs in {', '.join(rough)}: not compared, since {unlike(before, after)}."


def _exact(runs: dict[str, tuple[Entry, Entry]]) -> Iterator[Row]:
    for name, (old, new) in runs.items():
        for measure, before in old.exact.items():
            after = new.exact.get(measure)
            if after == before:
                verdict: Verdict = "same"
            else:
                less = after is not None and after < before and measure not in COUNTS
                verdict = "improvement" if less else "regression"
            yield Row("parameters", name, measure, verdict, before, after, note="exact")


def _memory(
    before: Baseline, after: Baseline, runs: dict[str, tuple[Entry, Entry]], level: float, remarks: list[str]
) -> Iterator[Row]:
    """CUDA's counts by a bound; resident memory by its own noise, if both allocators were set alike."""
    measures = list(dict.fromkeys(measure for old, _ in runs.values() for measure in old.memory))
    for measure in (name for name in measures if "cuda" in name):
        for name, (old, new) in runs.items():
            if measure not in old.memory:
                continue
            low = median(old.memory[measure])
            high = median(new.memory[measure]) if measure in new.memory else None
            if high is None:
                yield Row("memory", name, measure, "not compared", low, note="not measured now")
                continue
            moved = high / low - 1 if low else math.copysign(math.inf, high) if high else 0.0
            verdict = _verdict(moved > CUDA_BOUND, moved < -CUDA_BOUND)
            yield Row("memory", name, measure, verdict, low, high, note=f"within {CUDA_BOUND:.1%}")
    resident = {
        name: (old.memory[RESIDENT], new.memory.get(RESIDENT, []))
        for name, (old, new) in runs.items()
        if RESIDENT in old.memory
    }
    if resident and before.machine.allocator != after.machine.allocator:
        settings = before.machine.allocator or "the system's own"
        remarks.append(f"Resident memory: not compared, since the baseline's allocator settings are {settings}.")
    else:
        yield from _noisy("memory", RESIDENT, resident, level, (RSS_TOLERANCE, 1), remarks)


def _noisy(
    kind: Kind,
    measure: str,
    pairs: dict[str, tuple[list[float], list[float]]] | dict[str, tuple[list[int], list[int]]],
    level: float,
    bound: tuple[float, int],
    remarks: list[str],
) -> Iterator[Row]:
    """A measure whose noise is known from its repeats. `bound`: what counts as moved, and 1 where more is worse, else
    -1."""
    tolerance, worse = bound
    usable = {n: p for n, p in pairs.items() if all(len(side) >= FEWEST and min(side) > 0 for side in p)}
    for name, (old, new) in pairs.items():
        if name not in usable and (old or new):
            fewest = f"needs {FEWEST} repeats on each side, has {len(old)} and {len(new)}"
            yield Row(kind, name, measure, "not compared", median(old) if old else None, note=fewest)
    if not usable:
        return
    moves = shifts([old for old, _ in usable.values()], [new for _, new in usable.values()])
    if moves.suite:
        level /= 2  # the suite has half of it, the runs the other
        up, down = moves.suite.p(worse), moves.suite.p(-worse)
        verdict = _sure(moves.suite.ratio, up, down, level, tolerance)
        note = "the rounds of repeats, relative to each run's median before"
        yield Row(kind, f"all {len(usable)} runs", measure, verdict, 1.0, 1 + moves.suite.ratio, min(up, down), note)
    rises, falls = (holm([shift.p(sign) for shift in moves.runs]) for sign in (worse, -worse))
    for (name, (old, new)), shift, up, down in zip(usable.items(), moves.runs, rises, falls, strict=True):
        # A run that only moved less than the others did not move the other way.
        alone = shift.ratio * (median(new) - median(old)) > 0
        verdict = _sure(shift.ratio, up, down, level, tolerance) if alone else "same"
        note = f"{len(new)} repeats against {len(old)}" + (", beside the other runs" if moves.suite else "")
        yield Row(kind, name, measure, verdict, median(old), median(new), min(up, down), note)
    seen = sorted(max(tolerance, shift.visible(level / len(usable))) for shift in moves.runs)
    whole = f", of all runs together {max(tolerance, moves.suite.visible(level)):.1%}" if moves.suite else ""
    remarks.append(f"{measure}: the smallest change to be seen is {seen[0]:.1%} to {seen[-1]:.1%} by run{whole}.")


def _sure(ratio: float, p_worse: float, p_better: float, level: float, tolerance: float) -> Verdict:
    """The verdict on a shift of a noisy measure."""
    far = abs(ratio) > tolerance
    return _verdict(far and p_worse < level, far and p_better < level)


def worsening(entry: Entry, score: str) -> int:
    """1 where a rise of the score is a worsening, -1 where it is none, 0 where neither is."""
    return {"lower": 1, "higher": -1, "neither": 0}[entry.direction(score)]


def _by_run(runs: dict[str, tuple[Entry, Entry]], level: float) -> Iterator[Row]:
    """The main score of each run, paired over its test examples."""
    tests = []
    for name, (old, new) in runs.items():
        score = old.main
        for lost in [n for n, value in old.quality.items() if value is not None and new.quality.get(n) is None]:
            yield Row("quality", name, lost, "regression", old.quality[lost], note="no finite number any more")
        if score is None or score not in new.examples:
            why = "no statistics of its test examples" + ("" if score is None else " now")
            yield Row("quality", name, score or "scores", "not compared", note=why)
        elif old.indices != new.indices or old.parts(score).shape != new.parts(score).shape:
            yield Row("quality", name, score, "not compared", note="scored on other test examples")
        else:
            tests.append((name, score, old, new, paired(old, new, score)))
    adjusted = holm([change.p / 2 for *_, change in tests])
    for (name, score, old, new, change), p in zip(tests, adjusted, strict=True):
        worse = worsening(old, score) * change.value
        verdict = _verdict(worse > 0 and p < level, worse < 0 and p < level)
        yield Row(
            *("quality", name, score, verdict, old.quality.get(score), new.quality.get(score), p),
            note=f"paired over {len(old.parts(score))} test examples",
        )


def _over_suite(runs: dict[str, tuple[Entry, Entry]], level: float) -> Iterator[Row]:
    """How many runs got worse, of the main scores and the validation loss."""
    groups: dict[str, list[tuple[float, float, float]]] = {}
    for old, new in runs.values():
        for score in {old.main, "val_loss"} - {None}:
            assert score is not None
            before, after = old.quality.get(score), new.quality.get(score)
            if before is not None and after is not None:
                groups.setdefault(score, []).append((before, after, worsening(old, score) * (after - before)))
    signs = {
        score: sign_test([worsened for _, _, worsened in pairs], [before for before, _, _ in pairs])
        for score, pairs in sorted(groups.items())
        if len(pairs) > 1
    }
    # A score that did not move in any run could not have been a finding, and takes no share of the level (Tarone 1990).
    signs = {score: each for score, each in signs.items() if each.moved}
    worse, better = holm([each.p_worse for each in signs.values()]), holm([each.p_better for each in signs.values()])
    for (score, each), p, q in zip(signs.items(), worse, better, strict=True):
        pairs = groups[score]
        yield Row(
            *("quality", f"all {len(pairs)} runs", f"mean {score}", _verdict(p < level, q < level)),
            *(fmean(before for before, _, _ in pairs), fmean(after for _, after, _ in pairs), min(p, q)),
            note=f"worse in {each.worse} of the {each.moved} that moved (sign test)",
        )


def _verdict(worse: bool, better: bool) -> Verdict:
    return "regression" if worse else "improvement" if better else "same"
