"""The generated restaurant descriptions: reproducible, disjoint, fluent on the surface, and not solvable by a trick."""

import hashlib
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from sacrebleu.metrics.bleu import BLEU

from harness.data import Example, Splits
from harness.data.restaurants import MAX_SIZE, MIN_SIZE, make_splits, words
from harness.evaluation.no_model import best_constant, join_slots
from harness.metrics.slots import parse_mr

SIZE = 2400


@cache
def data() -> Splits:
    return make_splits(SIZE, seed=0)


def everything(splits: Splits) -> tuple[Example, ...]:
    return splits.train + splits.validation + splits.test


def names(examples: tuple[Example, ...]) -> set[str]:
    return {dict(parse_mr(example.source))["name"] for example in examples}


def attributes(examples: tuple[Example, ...]) -> set[tuple[tuple[str, str], ...]]:
    return {tuple(pair for pair in parse_mr(example.source) if pair[0] != "name") for example in examples}


def bleu(outputs: list[str], references: list[tuple[str, ...]]) -> float:
    columns = [[r[i] if i < len(r) else None for r in references] for i in range(max(map(len, references)))]
    return float(BLEU(lowercase=True).corpus_score(outputs, columns).score)  # type: ignore[arg-type]  # it takes None


def test_same_arguments_same_bytes_in_any_process() -> None:
    program = (
        "import hashlib; from harness.data.restaurants import make_splits; "
        "print(hashlib.sha256(repr(make_splits(300, 7)).encode()).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == hashlib.sha256(repr(make_splits(300, 7)).encode()).hexdigest()


def test_another_seed_gives_other_data() -> None:
    assert make_splits(100, 0) != make_splits(100, 1)


@pytest.mark.parametrize("size", [MIN_SIZE, 31, 99, 1000])
def test_sizes(size: int) -> None:
    splits = make_splits(size, 3)
    assert len(everything(splits)) == size
    assert len(splits.test) == len(splits.validation) == size // 10


@pytest.mark.parametrize("size", [-1, 0, MIN_SIZE - 1, MAX_SIZE + 1])
def test_impossible_sizes_are_refused_with_the_limits(size: int) -> None:
    with pytest.raises(ValueError, match=rf"size={size} .*{MIN_SIZE} to {MAX_SIZE}"):
        make_splits(size, 0)


def test_splits_share_neither_attributes_nor_test_names() -> None:
    splits = data()
    assert len(attributes(everything(splits))) == SIZE  # no combination occurs twice, in any split
    assert not names(splits.test) & (names(splits.train) | names(splits.validation))
    assert len({example.source for example in everything(splits)}) == SIZE


def test_meaning_representations_have_three_to_eight_known_slots() -> None:
    values = words().values()
    for example in everything(data()):
        (first, name), *rest = parse_mr(example.source)
        assert first == "name"
        assert name in words().names
        assert 2 <= len(rest) <= 7
        assert all(value in values[slot] for slot, value in rest)


def test_references_are_three_to_six_and_distinct() -> None:
    for example in everything(data()):
        assert 3 <= len(example.references) <= 6
        assert len(set(example.references)) == len(example.references)


def test_references_are_clean_english_on_the_surface() -> None:
    vowel = "aeiou"
    for example in everything(data()):
        for text in example.references:
            assert text == text.strip()
            assert text[0].isupper()
            assert text.endswith(".")
            assert not re.search(r"  | [.,]|\.\.|,,|,\.|[{}\[\]]", text), text
            assert all(sentence[0].isupper() for sentence in text.split(". ")), text
            for article, word in re.findall(r"\b(an?) (\S)", text):
                assert (article == "an") == (word.lower() in vowel), text
            assert not re.search(r"\b(\w+) \1\b", text), text


def test_values_are_not_always_said_literally() -> None:
    said = [
        value.lower() in text.lower()
        for example in data().test
        for slot, value in parse_mr(example.source)
        if slot not in ("name", "near")
        for text in example.references
    ]
    assert 0.2 < sum(said) / len(said) < 0.7


def test_tricks_score_far_below_another_speaker() -> None:
    test = data().test
    references = [example.references for example in test]
    constant = best_constant(data().train, candidates=40, seed=0)
    speaker = bleu([r[0] for r in references], [r[1:] for r in references])
    assert speaker > 40
    assert bleu([join_slots(example.source) for example in test], references) < 20
    assert bleu([example.source for example in test], references) < 10
    assert bleu([constant] * len(test), references) < 20


def test_join_slots() -> None:
    assert join_slots("name[Aromi], food[Thai], customer rating[5 out of 5]") == "Aromi, Thai, 5 out of 5"
    with pytest.raises(ValueError, match="no slots"):
        join_slots("Aromi serves Thai food.")


def test_best_constant_is_the_text_that_fits_most() -> None:
    common, rare = "the cat sat on the mat today", "a dog ran far away from home"
    train = [Example(f"a[{i}]", (common,)) for i in range(9)] + [Example("a[x]", (rare, "one more text of that kind"))]
    assert best_constant(train, candidates=10, seed=0) == common
    with pytest.raises(ValueError, match="at least one"):
        best_constant([], candidates=10, seed=0)
