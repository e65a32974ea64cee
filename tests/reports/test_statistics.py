"""Statistics against closed forms, scipy, exact enumeration, textbook examples and sacrebleu."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import scipy.stats
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU

from benchmarks.paired_seeds import WORLDS, cells
from harness.errors import UserError
from harness.metrics import of_sums
from harness.metrics.bleu import of_sums as bleu_of_sums
from harness.metrics.tools.bootstrap import RESAMPLES, draws, resampled
from reports.read.rows import groups
from reports.read.run import Run
from reports.read.runs import UnusablePredictions, all_runs, load_sweep
from reports.statistics.intervals import detectable, holm, percentile_interval, seed_summary, seeds_factor
from reports.statistics.paired import (
    compared,
    difference,
    distance,
    interval,
    randomized,
    sample,
    scores_with_examples,
    seed_variance,
    shared_seeds,
)
from tests.support.records import REFERENCES, add, add_base, corpus_bleu, key, run_folder, spoiled, statistics, sweep

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def scored(results: Path, name: str, values: NDArray[Any], seed: int = 0) -> Run:
    """A finished run whose accuracy is the mean of these values, one an example."""
    method = {"name": name}
    run = f"{name}-{seed}"
    quality = {"accuracy": float(np.mean(values))}
    add(results, run, None, method, key=key(method, settings__seed=seed), quality=quality, label=name)
    lines = [json.dumps({"index": i, "prediction": "", "accuracy": float(v)}) + "\n" for i, v in enumerate(values)]
    (run_folder(results, run) / "predictions.jsonl").write_text("".join(lines))
    return next(each for each in all_runs(results) if each.id == run)


# Summaries over seeds, families of tests


def test_the_interval_over_seeds_is_scipys() -> None:
    values = [30.0, 32.0, 37.0, 31.5]
    summary = seed_summary(values)
    known = scipy.stats.t.interval(0.95, 3, loc=np.mean(values), scale=scipy.stats.sem(values))
    assert (summary.mean, summary.std, summary.n) == (pytest.approx(32.625), pytest.approx(np.std(values, ddof=1)), 4)
    assert summary.interval is not None
    assert (summary.interval.low, summary.interval.high) == pytest.approx(known)
    one = seed_summary([5.0])
    assert (one.mean, one.std, one.interval, one.n) == (5.0, None, None, 1)


def test_holm_by_hand() -> None:
    """Four tests, as in Holm's procedure: the smallest p times 4, the next times 3, …, never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_the_detectable_difference_is_the_one_found_in_80_percent_of_cases() -> None:
    true = detectable(2.0)
    drawn = np.random.default_rng(0).normal(true, 2.0, size=200_000)
    assert (np.abs(drawn) > 1.959964 * 2.0).mean() == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_of_few_seeds_it_is_the_one_that_as_many_others_find(n: int) -> None:
    """Each experiment of n seeds tells its detectable difference, which another one meets as the truth."""
    generator, size = np.random.default_rng(n), 100_000
    first = generator.normal(size=(size, n)).std(axis=1, ddof=1) / math.sqrt(n)
    told = np.array([detectable(0.0, [(error, n)]) for error in first[:2000]])
    assert told == pytest.approx(seeds_factor(n) * first[:2000])
    second = generator.normal(size=(size, n)) + (seeds_factor(n) * first)[:, None]
    t = second.mean(axis=1) / (second.std(axis=1, ddof=1) / math.sqrt(n))
    assert (t > scipy.stats.t.ppf(0.975, n - 1)).mean() == pytest.approx(0.8, abs=0.005)


def test_errors_of_examples_and_seeds_add_up_in_squares() -> None:
    parts = [detectable(1.0), detectable(0.0, [(2.0, 3)]), detectable(0.0, [(0.5, 5)])]
    assert detectable(1.0, [(2.0, 3), (0.5, 5)]) == pytest.approx(math.hypot(*parts))
    assert detectable(0.0, [(0.0, 1), (0.0, 2)]) == 0.0, "one seed says nothing of seeds"
    assert seeds_factor(10_000) == pytest.approx(1.959964 + 0.841621, abs=0.002)


# Sums


def test_bleu_of_summed_statistics_is_the_corpus_bleu_of_sacrebleu() -> None:
    for share in (0.0, 0.3, 0.8, 1.0):
        texts = spoiled(share, seed=3)
        assert bleu_of_sums(np.array(statistics(texts)).sum(axis=0)) == pytest.approx(corpus_bleu(texts), abs=1e-9)


@pytest.mark.parametrize(
    ("hypothesis", "reference"),
    [
        ("", "a house near"),
        ("the", "a house"),
        ("a", "a"),
        ("a b c d", "a b x d"),
        ("a house a house", "a house near it"),
    ],
)
def test_bleu_of_degenerate_texts_is_that_of_sacrebleu(hypothesis: str, reference: str) -> None:
    one = BLEU(effective_order=True).sentence_score(hypothesis, [reference])
    expected = sacrebleu.corpus_bleu([hypothesis], [[reference]]).score
    assert bleu_of_sums([one.sys_len, one.ref_len, *one.counts, *one.totals]) == pytest.approx(expected, abs=1e-9)


def test_bleu_of_any_counts_is_that_of_sacrebleu() -> None:
    generator = np.random.default_rng(7)
    totals = generator.integers(0, 5, size=(300, 4))
    matches = generator.integers(0, totals + 1)
    lengths = generator.integers(0, 9, size=(300, 2))
    known = [
        BLEU.compute_bleu(list(m), list(t), int(n[0]), int(n[1]), smooth_method="exp").score
        for m, t, n in zip(matches.tolist(), totals.tolist(), lengths.tolist(), strict=True)
    ]
    assert bleu_of_sums(np.hstack([lengths, matches, totals])) == pytest.approx(known, abs=1e-9)


def test_a_resample_has_the_bleu_of_its_drawn_corpus() -> None:
    texts = spoiled(0.4, seed=5)
    values = resampled(statistics(texts), bleu_of_sums)
    for row in (0, 1, 999):
        drawn = np.repeat(np.arange(len(texts)), draws(len(texts))[row].astype(int))
        told = [[REFERENCES[i] for i in drawn]]
        known = sacrebleu.corpus_bleu([texts[i] for i in drawn], told, lowercase=True).score
        assert values[row] == pytest.approx(known, abs=1e-9)


def test_stored_statistics_of_real_outputs_sum_up_to_the_recorded_scores() -> None:
    """BLEU, both NISTs, METEOR and slot errors as recorded from the official definitions; the others are means."""
    runs = [run for run in all_runs(RESULTS / "e2e") if run.done]
    assert runs
    for run in runs:
        names = set(scores_with_examples(run))
        assert {"bleu", "nist", "nist_pymteval", "meteor", "ser", "rouge_l", "cider", "rouge1"} <= names, run.label
        record = run.done
        assert record is not None
        for name in names:
            assert sample([run], name).value == pytest.approx(record.quality[name], rel=1e-9), (run.label, name)


def test_families_tell_how_a_score_is_made_of_sums() -> None:
    assert of_sums("bleu") is bleu_of_sums
    assert of_sums("cider") is None
    assert of_sums("no such score") is None


# Intervals and tests of examples


def test_the_interval_of_a_mean_is_close_to_the_normal_approximation(tmp_path: Path) -> None:
    values = np.random.default_rng(4).normal(3.0, 2.0, size=400)
    found = interval([scored(tmp_path, "one", values)], "accuracy")
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_a_constant_difference_has_an_interval_of_no_width(tmp_path: Path) -> None:
    first = np.random.default_rng(4).normal(3.0, 2.0, size=50)
    found = difference([scored(tmp_path, "one", first + 5)], [scored(tmp_path, "two", first)], "accuracy")
    assert (found.value, found.interval.low, found.interval.high) == (pytest.approx(5),) * 3
    assert found.detectable == pytest.approx(0, abs=1e-9)
    assert found.p == pytest.approx(1e-4, rel=1e-3)


def test_the_paired_interval_and_error_are_those_of_the_mean_difference(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    base = generator.normal(size=500)
    change = generator.normal(0.2, 0.5, size=500)
    found = difference([scored(tmp_path, "one", base + change)], [scored(tmp_path, "two", base)], "accuracy")
    error = change.std(ddof=1) / math.sqrt(500)
    assert found.detectable == pytest.approx(2.8016 * error, rel=0.08)
    assert found.interval.low == pytest.approx(change.mean() - 1.96 * error, abs=0.2 * error)
    assert found.interval.high == pytest.approx(change.mean() + 1.96 * error, abs=0.2 * error)


def test_approximate_randomization_is_close_to_exact_enumeration(tmp_path: Path) -> None:
    """All 2^10 ways to swap the outputs of ten examples."""
    generator = np.random.default_rng(6)
    one, two = generator.normal(0.6, 1, size=10), generator.normal(0, 1, size=10)
    differences = one - two
    signs = np.array(list(itertools.product((1, -1), repeat=10)))
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()
    a, b = (sample([scored(tmp_path, name, values)], "accuracy") for name, values in (("one", one), ("two", two)))
    assert randomized(a, b) == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 10_000))
    assert randomized(a, b) == randomized(b, a)
    assert randomized(a, a) == 1.0


def test_approximate_randomization_of_bleu_swaps_outputs(tmp_path: Path) -> None:
    """Three examples: the eight swapped corpora scored by sacrebleu give the exact p-value."""
    one, two, told = (texts[:3] for texts in (spoiled(0.2, seed=1), spoiled(0.6, seed=2), REFERENCES))
    observed, extreme = None, 0
    for coins in itertools.product((False, True), repeat=3):
        first = [b if coin else a for a, b, coin in zip(one, two, coins, strict=True)]
        second = [a if coin else b for a, b, coin in zip(one, two, coins, strict=True)]
        apart = abs(
            sacrebleu.corpus_bleu(first, [told], lowercase=True).score
            - sacrebleu.corpus_bleu(second, [told], lowercase=True).score
        )
        observed = apart if observed is None else observed
        extreme += apart >= observed - 1e-9
    runs = []
    for name, texts in (("one", one), ("two", two)):
        score = sacrebleu.corpus_bleu(texts, [told], lowercase=True).score
        add(tmp_path, name, None, quality={"bleu": score})
        lines = [json.dumps({"index": i, "bleu": statistics(texts + REFERENCES[3:])[i]}) + "\n" for i in range(3)]
        (run_folder(tmp_path, name) / "predictions.jsonl").write_text("".join(lines))
        runs.append(next(run for run in all_runs(tmp_path) if run.id == name))
    assert difference([runs[0]], [runs[1]], "bleu").p == pytest.approx(extreme / 8, abs=0.02)


def of_quantiles(low: float, high: float, freedom: int) -> tuple[float, float]:
    """A t interval as 1,000 of its quantiles have it: the 2.5th percentile is between the 25th and 26th."""
    share = scipy.stats.t.ppf((0.025 * (RESAMPLES - 1) + 0.5) / RESAMPLES, freedom) / scipy.stats.t.ppf(0.025, freedom)
    middle, half = (low + high) / 2, (high - low) / 2
    return middle - share * half, middle + share * half


def test_where_examples_do_not_matter_the_interval_is_students_over_seeds(tmp_path: Path) -> None:
    values = [0.30, 0.36, 0.33]
    runs = [scored(tmp_path, "one", np.full(20, value), seed) for seed, value in enumerate(values)]
    found, known = interval(runs, "accuracy"), seed_summary(values).interval
    assert known is not None
    assert (found.low, found.high) == pytest.approx(of_quantiles(known.low, known.high, 2), rel=1e-4)
    drawn = sample(runs, "accuracy")
    assert seed_variance(drawn.values, drawn.resampled) == pytest.approx(scipy.stats.sem(values) ** 2)


def test_rows_of_equal_seeds_are_compared_seed_by_seed(tmp_path: Path) -> None:
    """Where examples do not matter, the paired t interval of scipy; what both rows owe to a seed falls out."""
    one, two = [0.30, 0.66, 0.43], [0.28, 0.61, 0.42]
    a = [scored(tmp_path, "a", np.full(20, value), seed) for seed, value in enumerate(one)]
    b = [scored(tmp_path, "b", np.full(20, value), seed) for seed, value in enumerate(two)]
    known = scipy.stats.ttest_rel(one, two).confidence_interval()
    for order in (b, b[::-1]):
        found = difference(a, order, "accuracy")
        ends = of_quantiles(known.low, known.high, 2)
        assert (found.interval.low, found.interval.high) == pytest.approx(ends, rel=1e-3)
        assert found.detectable == pytest.approx(seeds_factor(3) * scipy.stats.sem(np.subtract(one, two)))
    other = [scored(tmp_path, "other", np.full(20, value), seed + 5) for seed, value in enumerate(two)]
    apart = difference(a, other, "accuracy")
    assert apart.value == pytest.approx(found.value)
    assert apart.interval.high - apart.interval.low > 5 * (known.high - known.low)
    assert not shared_seeds(sample(a, "accuracy"), sample(other, "accuracy"))


def test_rows_that_share_some_seeds_are_compared_over_those(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    a = [scored(tmp_path, "a", generator.normal(seed, 1, 50), seed) for seed in range(4)]
    b = [scored(tmp_path, "b", generator.normal(seed, 1, 50), seed) for seed in (3, 1, 7)]
    assert difference(a, b, "accuracy") == difference([a[1], a[3]], [b[1], b[0]], "accuracy")
    one = difference(a, b[:1], "accuracy")  # a seed alone is no pair
    assert one.value == pytest.approx(sample(a, "accuracy").value - sample(b[:1], "accuracy").value)


@pytest.mark.parametrize("shared", [0.0, 0.9])
@pytest.mark.parametrize("n", [2, 5])
def test_intervals_hold_the_truth_as_often_as_they_say(n: int, shared: float) -> None:
    """2,000 rows of known truth: 93 to 97% of 95% intervals hold it, 80% find what others call detectable."""
    ours, _, width, before, found = cells(WORLDS[0], n, shared, 2000)
    assert 0.93 <= ours <= 0.97
    assert width < before
    assert found == pytest.approx(0.8, abs=0.05), "what is called detectable is found"


def test_a_row_of_several_seeds_is_the_mean_of_them(tmp_path: Path) -> None:
    generator = np.random.default_rng(8)
    shared = generator.normal(size=200)
    a = [scored(tmp_path, "a", shared + shift, seed) for seed, shift in enumerate((0.9, 1.0, 1.1))]
    b = [scored(tmp_path, "b", shared + generator.normal(0, 0.1, 200), seed) for seed in (0, 1)]
    found = difference(a, b, "accuracy")
    means = [[float(run.record.quality["accuracy"] or 0) for run in runs if run.record] for runs in (a, b)]
    assert found.value == pytest.approx(np.mean(means[0][:2]) - np.mean(means[1]))  # of the seeds that both have
    assert found.interval.low < found.value < found.interval.high
    first, second = sample(a, "accuracy"), sample(b, "accuracy")
    gaps = (row.of((0, 1)) for row in (first, second))
    spread = np.std([a - b for a, b in zip(*(row.values for row in gaps), strict=True)])
    assert found.detectable > seeds_factor(2) * spread / 2
    assert randomized(first, second) < 0.01
    alone = distance(sample(a[:1], "accuracy"), sample(b[:1], "accuracy"))
    assert found.interval.high - found.interval.low > alone.high - alone.low  # seeds are seen to vary


def test_draws_repeat_and_shuffles_in_blocks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert draws(30).shape == (RESAMPLES, 30)
    assert (draws(30).sum(axis=1) == 30).all()
    add_base(tmp_path)
    add(tmp_path, "lora", spoiled(0.45, seed=6))
    first, second = (sample([run], "bleu") for run in all_runs(tmp_path))
    whole = compared(first, second)
    assert whole == compared(first, second)
    assert whole.interval == percentile_interval(first.drawn - second.drawn)
    monkeypatch.setattr("reports.statistics.paired.BLOCK", 4000)
    assert randomized(first, second) == pytest.approx(whole.p, abs=0.02)


def test_what_is_not_shared_cannot_be_compared(tmp_path: Path) -> None:
    one, two = scored(tmp_path, "one", np.ones(5)), scored(tmp_path, "two", np.ones(6))
    with pytest.raises(UnusablePredictions, match="different test examples"):
        difference([one], [two], "accuracy")
    with pytest.raises(UnusablePredictions, match="different test examples"):
        interval([one, two], "accuracy")
    with pytest.raises(UnusablePredictions, match="the record has no bleu"):
        interval([one], "bleu")


# Rows


def test_rows_that_differ_only_in_the_seed_are_one_group(tmp_path: Path) -> None:
    for name, seed in (("b", 1), ("a", 0), ("b", 0)):
        scored(tmp_path, name, np.ones(4), seed)
    add(tmp_path, "failed", None, status="error", cause="x")
    sweep(tmp_path, "b-1", "a-0", "failed", "b-0", "later")
    found = groups(load_sweep(tmp_path, "s"))
    assert [[run.id for run in group.runs] for group in found] == [["b-1", "b-0"], ["a-0"]]
    assert [group.label for group in found] == ["b-1", "a-0"]


def test_all_runs_are_those_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs there"):
        all_runs(tmp_path)
    scored(tmp_path, "b", np.ones(4))
    (run_folder(tmp_path, "broken")).mkdir()
    (run_folder(tmp_path, "broken") / "record.json").write_text("{")
    found = {run.id: run for run in all_runs(tmp_path)}
    assert list(found) == ["b-0", "broken"]
    assert found["b-0"].label == "b"
    assert found["broken"].status == "unreadable record"
