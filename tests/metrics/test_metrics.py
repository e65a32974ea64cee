"""Scores of texts, answers, classes and probabilities against published examples, other libraries and closed forms."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from harness import metrics
from harness.errors import UserError
from harness.metrics import Score, calibration, numeric
from harness.metrics.bleu import corpus_bleu
from harness.metrics.classes import positive_class
from harness.metrics.rouge import parts
from harness.metrics.surface import words
from harness.metrics.tools.sandbox import FAMILIES as CODE

ROOT = Path(__file__).parents[2]
COLD, VERY, NOT = "It is cold outside.", "It is very cold outside.", "It is not cold outside."
TEA = "I am very happy to say that I am drinking a warm cup of tea."
FAMILIES = [family for family in metrics.families() if family not in CODE]


def one(
    family: str, name: str, predictions: list[str], references: list[list[str]], sources: list[str] | None = None
) -> Score:
    return metrics.compute([family], predictions, references, sources)[name]


def test_rouge_of_the_lecture() -> None:
    """ROUGE-L is by longest common subsequence (4 words); the slide's 0.44 counts a common substring of two."""
    for text in (VERY, NOT):  # a text that says the opposite scores the same
        found = parts(text, [COLD])
        for kind, precision, recall, f1 in (
            ("rouge1", 0.8, 1, 0.889),
            ("rouge2", 0.5, 0.667, 0.571),
            ("rougeL", 0.8, 1, 0.889),
        ):
            got = found[kind]
            assert [round(v, 3) for v in (got.precision, got.recall, got.f1)] == [precision, recall, f1], kind


def test_clipped_precision_of_the_lecture() -> None:
    """A word repeated four times counts once; a text in disorder has all its words."""
    for text, precision in (("cold cold cold cold", 0.25), ("outside cold it is", 1.0)):
        row = one("bleu", "bleu", [text], [[COLD]]).statistics
        assert row is not None
        assert row[0][2] / row[0][6] == precision


@pytest.mark.parametrize(
    ("text", "bleu"),
    [
        ("I am very happy that I am drinking a cup of tea.", 0.495),
        ("I am very happy that I am drinking a warm cup of tea.", 0.730),
        ("I am very happy to say that I am drinking a warm tea.", 0.798),
        (TEA, 1.000),
    ],
)
def test_bleu_of_the_lecture(text: str, bleu: float) -> None:
    assert round(corpus_bleu([text], [[TEA]], lowercase=False, tokenize="none") / 100, 3) == bleu


def test_rouge_lsum_goes_line_by_line() -> None:
    """The witness is rouge-score with both texts' lines; L reads them as one text, where order matters."""
    found = metrics.compute(["rouge"], ["b b b b\na a a a"], [["a a a a\nb b b b", "nothing"]])
    assert found["rougeLsum"].value == pytest.approx(100)
    assert found["rougeL"].value == pytest.approx(50)
    line = metrics.compute(["rouge"], [VERY], [["It was cold.", COLD]])
    assert line["rougeLsum"].value == line["rougeL"].value == pytest.approx(800 / 9)


def test_texts_that_game_overlap_show() -> None:
    """`cold` four times: three pairs, one of them distinct; one word of four; all pairs but none of the source's."""
    found = metrics.compute(
        ["surface"], ["cold cold cold cold", "a b c d"], [[COLD], ["a b"]], ["is it cold", "b c d e"]
    )
    assert found["repetition"].examples == (pytest.approx(2 / 3), 0)
    assert found["distinct_1"].value == pytest.approx(5 / 8)
    assert found["distinct_2"].value == pytest.approx(4 / 6)
    assert found["length_ratio"].value == pytest.approx(8 / 6)
    assert found["copy_rate"].value == pytest.approx(2 / 6)
    assert words("It's 5°C, naïve") == ["it", "s", "5", "c", "naïve"]
    without = metrics.compute(["surface"], ["a b"], [["a"]])["copy_rate"]
    assert (without.value, without.reason) == (None, "needs the inputs; the files give none")


def test_chrf_and_ter_equal_sacrebleu() -> None:
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    texts, references = [VERY, "warm here", ""], [[COLD, "Outside it is cold."], ["warm there"], ["a pub"]]
    columns = [["It is cold outside.", "warm there", "a pub"], ["Outside it is cold.", None, None]]
    found = metrics.compute(["translation"], texts, references)
    for name, scorer in (("chrf", CHRF()), ("ter", TER())):
        assert found[name].value == pytest.approx(scorer.corpus_score(texts, columns).score), name  # type: ignore[attr-defined]
        each = [scorer.sentence_score(t, r).score for t, r in zip(texts, references, strict=True)]  # type: ignore[attr-defined]
        assert found[name].examples == pytest.approx(each), name


@pytest.mark.parametrize(
    ("text", "reference", "exact", "f1"),
    [
        ("The Norman dynasty", "norman dynasty!", 100, 100),
        ("in the 10th century", "10th and 11th centuries", 0, 100 * 2 / 7),  # shares 10th: 2 * 1 / (3 + 4)
        ("", "Paris", 0, 0),
        ("", "", 100, 100),
        ("a the", "an", 100, 100),
        ("Paris, France", "Rome", 0, 0),
    ],
)
def test_squad(text: str, reference: str, exact: float, f1: float) -> None:
    found = metrics.compute(["questions"], [text], [["something else", reference]])
    assert found["exact_match"].value == exact
    assert found["token_f1"].value == pytest.approx(f1)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so she makes 9 * 2 = $18 a day", "18"),
        ("#### 70,000", "70000"),
        ("It is 3.50.", "3.5"),
        ("a loss of -5", "-5"),
        ("10-5", "5"),
        ("about 12, or 1,2,3", "3"),
        ("there are 1,234,567 of them", "1234567"),
        ("-$4", "-4"),
        (".5", "0.5"),
        ("none", None),
        ("", None),
    ],
)
def test_last_number(text: str, number: str | None) -> None:
    assert numeric.last_number(text) == (None if number is None else Decimal(number))


def test_gsm8k() -> None:
    references = [["He pays 3*5=15\n#### 15"], ["#### 1,000"], ["#### 2"]]
    found = one("numeric", "numeric_match", ["It is 15.0 in all", "1000", "2 or 3"], references)
    assert found.examples == (100, 100, 0)
    with pytest.raises(UserError, match="item 1 has no number"):
        one("numeric", "numeric_match", ["3"], [["#### none"]])


def test_classes_by_hand() -> None:
    """Of `yes`: TP 2, FP 1, FN 1. Matthews: (2·1 - 1·1) / sqrt(3·3·2·2)."""
    texts, references = ["yes", "yes ", "yes", "no", "no"], [["yes"], ["yes"], ["no"], ["yes"], ["no"]]
    found = metrics.compute(["classes"], texts, references)
    assert found["accuracy"].value == 0.6
    assert found["f1"].value == pytest.approx(2 / 3)
    assert "positive:yes" in found["f1"].signature
    assert found["macro_f1"].value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["matthews"].value == pytest.approx(1 / 6)
    assert positive_class(["0", "1"]) == "1"
    assert positive_class(["entailment", "not_entailment"]) == "entailment"
    assert positive_class(["duplicate", "not_duplicate"]) == "duplicate"
    three = metrics.compute(["classes"], ["a", "b", "?"], [["a"], ["b"], ["c"]])
    assert three["f1"].value is None
    assert "two classes" in str(three["f1"].reason)


def test_correlation_by_hand() -> None:
    """x 1 2 3 4 and y 1 3 2 4: covariance 4, variances 5 and 5; ranks are the numbers."""
    found = metrics.compute(["correlation"], ["1", "2", "3", "4"], [["1"], ["3"], ["2"], ["4"]])
    assert found["pearson"].value == pytest.approx(0.8)
    assert found["spearman"].value == pytest.approx(0.8)
    bent = metrics.compute(["correlation"], ["1", "2", "3"], [["1"], ["10"], ["1000"]])
    assert bent["spearman"].value == pytest.approx(1)
    assert bent["pearson"].value == pytest.approx(np.corrcoef([1, 2, 3], [1, 10, 1000])[0, 1])
    for texts, reason in ((["1", "many", "nan"], "2 of 3 predictions are no numbers"), (["1"] * 3, "one number")):
        null = metrics.compute(["correlation"], texts, [["1"], ["10"], ["1000"]])["pearson"]
        assert null.value is None
        assert reason in str(null.reason)
    with pytest.raises(UserError, match="item 2 is no number"):
        metrics.compute(["correlation"], ["1", "2"], [["1"], ["two"]])


def test_calibration_by_hand() -> None:
    """Four answers at 0.9, three of them right: |0.75 - 0.9|. Brier: 0.01 + 0.01 when right, 0.81 + 0.81 when not."""
    texts = [json.dumps({"yes": 0.9, "no": 0.1})] * 4
    references = [["yes"], ["yes"], ["yes"], ["no"]]
    found = metrics.compute(["calibration"], texts, references)
    assert found["ece"].value == pytest.approx(0.15)
    assert found["brier"].value == pytest.approx((3 * 0.02 + 1.62) / 4)
    (full,) = [each for each in calibration.reliability(found["ece"]) if each.items]
    assert (full.low, full.high, full.items) == (pytest.approx(13 / 15), pytest.approx(14 / 15), 4)
    assert (full.confidence, full.accuracy) == (pytest.approx(0.9), 0.75)
    for bad in ("yes", "[]", "{}", '{"yes": 0.5}', '{"yes": 2, "no": -1}'):
        with pytest.raises(UserError, match="prediction 1"):
            metrics.compute(["calibration"], [bad], [["yes"]])


def test_brier_equals_scikit_learn() -> None:
    from sklearn.metrics import brier_score_loss

    rng = random.Random(0)
    chances = [rng.random() for _ in range(50)]
    labels = [rng.choice(("no", "yes")) for _ in chances]
    found = calibration.scores([{"yes": p, "no": 1 - p} for p in chances], labels)["brier"].value
    assert found == pytest.approx(2 * brier_score_loss([label == "yes" for label in labels], chances))


def test_probabilities_of_label_texts() -> None:
    """A text of four tokens at half the chance each: as likely by the token as one of one token."""
    logs = {"good": math.log(0.5), "not good at all": 4 * math.log(0.5)}
    assert calibration.from_log_likelihoods(logs)["good"] == pytest.approx(0.5 / (0.5 + 0.5**4))
    assert calibration.from_log_likelihoods(logs, {"good": 1, "not good at all": 4})["good"] == pytest.approx(0.5)
    assert sum(calibration.from_log_likelihoods({"a": -2000.0, "b": -2001.0}).values()) == pytest.approx(1)


def test_families_import_neither_torch_nor_hydra() -> None:
    """Also what they import; `reports` scores where neither is installed."""
    code = (
        "import importlib, sys\nfrom harness import metrics\n"
        "metrics.compute(['bleu', 'rouge', 'classes'], ['a', 'b'], [['a'], ['c']])\n"
        "for name in metrics.families(): importlib.import_module(f'harness.metrics.{name}')\n"
        "print(sorted({'torch', 'hydra', 'omegaconf', 'transformers', 'peft', 'evaluate'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_rouge_waits_for_nltk_until_somebody_needs_it() -> None:
    """Words of one stem are one word to nltk's Porter stemmer, and two sentences are two to its splitter."""
    code = (
        "import sys\nfrom harness import metrics\nmetrics.compute(['rouge'], ['a b\\nc'], [['a b\\nd']])\n"
        "print({'nltk', 'pandas', 'sklearn', 'scipy'} & set(sys.modules) or 'none')\n"
        "from rouge_score import rouge_scorer\n"
        "print(rouge_scorer.RougeScorer(['rouge1'], use_stemmer=True).score('running', 'runs')['rouge1'].fmeasure)\n"
        "import nltk\nprint(rouge_scorer.nltk.sent_tokenize is nltk.sent_tokenize)"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["none", "1.0", "True"]


SAMPLES = {
    "calibration": (['{"1": 0.8, "2": 0.2}', '{"1": 0.4, "2": 0.6}', '{"1": 0.3, "2": 0.7}'], [["1"], ["2"], ["1"]]),
    "numeric": (["1", "so 2", "3"], [["#### 1"], ["#### 2"], ["#### 4"]]),
    "answer_words": (["true", "option1 or option2", ""], [["true"], ["option2"], ["answer1"]]),
    "boxed": ([r"\boxed{1}", "2", ""], [[r"\boxed{1}"], [r"\boxed{2}"], [r"\boxed{3}"]]),
    "correlation": (["1", "2", "4"], [["1"], ["3"], ["2"]]),
    "classes": (["1", "2", "1"], [["1"], ["2"], ["2"]]),
}
TEXTS = ([VERY, "A pub in town.", "Nothing"], [[COLD, "Cold."], ["There is a pub in town."], ["Some thing"]])
SOURCES = ["name[A], food[Thai]", "name[B], eatType[pub]", "name[C]"]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_keeps_its_word(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of statistics give the value, parts are there for each example, a null has its reason."""
    monkeypatch.setenv("PATH", "")  # METEOR is held elsewhere
    predictions, references = SAMPLES.get(family, TEXTS)
    for name, score in metrics.compute([family], predictions, references, SOURCES).items():
        assert score.signature.isprintable(), name
        assert (score.value is None) == (score.reason is not None), name
        for rows in (score.examples, score.statistics):
            assert rows is None or len(rows) == 3, name
        assert (score.statistics is None) == (score.of_sums is None), name
        if score.statistics is not None and score.of_sums is not None:
            sums = [sum(column) for column in zip(*score.statistics, strict=True)]
            assert score.of_sums(sums) == pytest.approx(score.value), name


PARTICULAR = ("calibration", "numeric", "boxed", "correlation", "answer_words")
"""Families that take not every text for a reference."""


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in PARTICULAR])
@pytest.mark.parametrize("texts", [["", "", ""], ["", "A pub in town.", " "], ["a\x00b", "שלום עולם", "é" * 3000]])
def test_odd_predictions_have_a_score(family: str, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for name, score in metrics.compute([family], texts, TEXTS[1], SOURCES).items():
        assert score.value is not None or score.reason, name
        assert score.value is None or math.isfinite(score.value), name


@pytest.mark.parametrize(
    ("names", "predictions", "references", "says"),
    [
        (["blue"], ["a"], [["a"]], "metric blue: there is none of that name; did you mean bleu?"),
        (["bleu"], ["a"], [["a"], ["b"]], "1 predictions for 2 groups of references"),
        (["bleu"], ["a", "b"], [["a"], []], "item 2 has no references"),
        (["bleu"], [], [], "nothing to score"),
        (["slots"], ["a"], [["a"]], "metric slots: needs the inputs"),
    ],
)
def test_what_cannot_be_scored(
    names: list[str], predictions: list[str], references: list[list[str]], says: str
) -> None:
    with pytest.raises(UserError) as caught:
        metrics.compute(names, predictions, references)
    assert len(caught.value.problems) == 1
    assert says in caught.value.problems[0]
