"""Scores by which trials may be compared: which there are, what is refused at once, what each example has of one."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from harness import metrics
from harness.data import Example
from harness.errors import UserError
from harness.evaluation.scores import score, together
from harness.evaluation.validation import better_of, example_parts
from harness.metrics import bleu
from harness.metrics.tools.bootstrap import resampled
from harness.results.sections import Better
from tests.support import tiny
from tests.support.records import REFERENCES, spoiled
from tests.support.tiny import settings

EXAMPLES = [Example("x", (reference,)) for reference in REFERENCES]

MIX = ("data=mix", "data.tasks.restaurants.size=100", "data.tasks.cuisine.size=100")


@pytest.mark.parametrize(
    ("words", "by", "better"),
    [
        ((), "val_loss", "lower"),
        ((), "bleu", "higher"),
        ((), "rougeL", "higher"),
        ((), "ser", "lower"),
        (("data=cuisine", "model.architecture=bert"), "accuracy", "higher"),
        (("data=cuisine", "model.architecture=bert"), "matthews", "higher"),
        (("data=cuisine", "model.architecture=bert"), "brier", "lower"),
        (("data=cuisine", "data.head=false"), "accuracy_normalised", "higher"),
        (MIX, "cuisine/accuracy", "higher"),
    ],
)
def test_a_score_of_the_data_may_choose_and_says_which_end_is_better(
    words: Sequence[str], by: str, better: Better, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "data=mix" in words:
        monkeypatch.setattr(tiny, "SMALL", tuple(word for word in tiny.SMALL if word != "data.size=100"))
    assert better_of(settings(*words, "method=lora", "tune=lr", f"tune.by={by}")) == better


@pytest.mark.parametrize(
    ("words", "by", "line"),
    [
        ((), "blue", "tune.by=blue: data=restaurants has no such score of validation; did you mean bleu?"),
        ((), "accuracy", "has no such score of validation; choose from: bleu, rouge1, "),
        (("data.metrics=[surface]",), "length_ratio", "tune.by=length_ratio: neither more nor less of it is better"),
        (("train.validation_examples=1", "data.metrics=[cider]"), "cider", "it is not defined: there is one example"),
    ],
)
def test_what_cannot_choose_is_one_line(words: Sequence[str], by: str, line: str) -> None:
    with pytest.raises(UserError) as error:
        better_of(settings("method=lora", "tune=lr", f"tune.by={by}", *words))
    (problem,) = error.value.problems
    assert line in problem


def test_parts_of_a_mean_are_the_examples_own_scores() -> None:
    texts = spoiled(0.3, seed=1)
    scores = score(EXAMPLES, texts, ["rouge"])
    parts = example_parts(scores, "rougeL")
    assert parts == [line["rougeL"] for line in scores.lines]
    assert np.mean(parts) == pytest.approx(scores.quality["rougeL"])


def test_parts_of_a_corpus_score_are_pseudo_values_whose_test_is_that_of_the_paired_bootstrap() -> None:
    """Closed form: n S - (n - 1) S without the example, scored anew. Witness: the standard error of a difference of
    two systems is that of the bootstrap over examples."""
    one, two = spoiled(0.3, seed=1), spoiled(0.35, seed=2)
    scores = [score(EXAMPLES, texts, ["bleu"]) for texts in (one, two)]
    parts = [example_parts(each, "bleu") for each in scores]
    n = len(EXAMPLES)
    whole = bleu.compute(one, [e.references for e in EXAMPLES])["bleu"].value
    for i in (0, n - 1):
        left = [e.references for j, e in enumerate(EXAMPLES) if j != i]
        without = bleu.compute([text for j, text in enumerate(one) if j != i], left)["bleu"].value
        assert whole is not None
        assert without is not None
        assert parts[0][i] == pytest.approx(n * whole - (n - 1) * without, rel=1e-6)
    differences = np.array(parts[0]) - np.array(parts[1])
    rows = [[line["bleu"] for line in each.lines] for each in scores]
    drawn = resampled(rows[0], metrics.of_sums("bleu")) - resampled(rows[1], metrics.of_sums("bleu"))
    assert differences.std(ddof=1) / np.sqrt(n) == pytest.approx(drawn.std(), rel=0.1)
    assert differences.mean() == pytest.approx(drawn.mean(), abs=2 * drawn.std())


def test_a_score_of_no_single_examples_has_no_parts_and_a_task_of_a_mixture_its_own() -> None:
    chance = random.Random(0)
    numbers = [Example("x", (str(chance.random()),)) for _ in range(8)]
    scores = score(numbers, [str(chance.random()) for _ in range(8)], ["correlation"])
    assert example_parts(scores, "spearman") == []
    assert len(example_parts(scores, "pearson")) == 8
    texts = spoiled(0.3, seed=1)[:4]
    one = score(EXAMPLES[:4], texts, ["rouge"])
    mixed = together([("a", [0, 1, 2, 3], one), ("b", [4, 5, 6, 7], score(EXAMPLES[:4], REFERENCES[:4], ["rouge"]))])
    assert example_parts(mixed, "a/rougeL") == example_parts(one, "rougeL")
    assert example_parts(mixed, "b/rougeL") == [100.0] * 4
