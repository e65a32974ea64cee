"""Answers of MATH: where they stand, and when two are equal."""

from __future__ import annotations

import random

import pytest

from harness import metrics
from harness.errors import UserError
from harness.metrics import boxed


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"So $x = \boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"First \boxed{1}, then $\boxed{\left\{ \sqrt{2}, {3} \right\}}$", r"\left\{ \sqrt{2}, {3} \right\}"),
        (r"It is $\boxed 7$ of them.", "7"),
        (r"\fbox{4}", "4"),
        (r"\boxed{5", None),
        (r"\boxed{5 and The answer is: 6", "6"),
        ("Sum: 3.\nThe answer is: 4.5.\nQuestion", "4.5"),
        (r"$\boxed{8}$. The answer is: 9", "8"),
        ("5", None),
        ("", None),
    ],
)
def test_where_the_answer_stands(text: str, answer: str | None) -> None:
    assert boxed.answer_of(text) == answer


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (r"\dfrac12", r"\frac{1}{2}", True),
        ("0.5", "1/2", True),
        (r"x = \tfrac{-3}{4}", r"\frac{-3}{4}", True),
        (r"\sqrt3", r"\sqrt{3}", True),
        (r"10\text{ cm}", "10", True),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})", True),
        (r"30^\circ", "30", True),
        (r"\$18.90", "18.90", True),
        (r"50\%", "50%", True),
        (".25", "0.25", True),
        ("10,\\!000", "10,000", True),
        ("x/2 ", "x/2", True),
        ("18.9", "18.90", False),
        (r"\text{red}", "red", False),
        ("2/4", "1/2", False),
        (r"\sqrt", r"\sqrt", True),
        (r"\sqrt", r"\sqrt ", False),
    ],
)
def test_equal_as_the_paper_has_it(one: str, other: str, equal: bool) -> None:
    assert boxed.alike(one, other) is equal
    assert boxed.alike(other, one) is equal


PIECES = r"\frac \sqrt \text{ { } 1 2 0 .5 = x \left( \right) \% \$ ^\circ ^{\circ} / - \dfrac \tfrac \! \\ ,"


def test_equal_as_lm_evaluation_harness_has_it() -> None:
    """On texts of pieces that the rules look for, drawn by chance. Left out is what its copy does otherwise than the
    paper: it raises an error at a slash beside what is no integer, and keeps a bare percent sign."""
    utils = pytest.importorskip("lm_eval.tasks.hendrycks_math.utils")
    drawn = random.Random(0)
    pieces = [*PIECES.split(), " ", "\n", r"\text{ "]
    told, broken = 0, 0
    for _ in range(20_000):
        text = "".join(drawn.choice(pieces) for _ in range(drawn.randint(0, 7)))
        try:
            wanted = utils.strip_string(text)
        except ValueError:
            continue
        except (AssertionError, IndexError):
            broken += 1
            with pytest.raises(boxed._Broken):
                boxed.normal(text)
            continue
        told += 1
        assert boxed.normal(text) == wanted
    assert told > 10_000
    assert broken > 100


def test_the_score() -> None:
    references = [[r"so \boxed{\frac12}"], ["The answer is: 3"], [r"\boxed{4}"], [r"\boxed{5}"]]
    found = metrics.compute(["boxed"], [r"\boxed{0.5}", "The answer is: 3.", "4", ""], references)["boxed_match"]
    assert (found.value, found.examples) == (50, (100, 100, 0, 0))
    with pytest.raises(UserError, match="the reference of item 2 has no"):
        metrics.compute(["boxed"], ["1", "2"], [[r"\boxed{1}"], ["2"]])
