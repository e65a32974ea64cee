"""Slot errors: none on what the generator says, one for each thing changed, and near none on what people wrote."""

import csv
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from harness.data.restaurants import describe, make_splits, to_source, words
from harness.metrics.slots import SlotErrors, parse_mr, slot_error_rate, slot_errors

E2E = Path(__file__).parents[3] / "shared" / "data" / "e2e"
FULL = (
    "name[Aromi], eatType[pub], food[Italian], priceRange[less than £20], customer rating[3 out of 5], "
    "area[riverside], familyFriendly[no], near[Café Rouge]"
)


@cache
def sources() -> tuple[str, ...]:
    return tuple(example.source for example in make_splits(400, 11).train)


def other_values(slot: str, value: str) -> list[str]:
    choices = words().names if slot == "name" else words().values()[slot]
    return [choice for choice in choices if choice != value]


def changed() -> Iterator[tuple[dict[str, str], str, str]]:
    """MRs of the generator, each with one of its slots and another value for it."""
    rng = random.Random(5)
    for source in sources():
        slots = dict(parse_mr(source))
        slot = rng.choice(list(slots))
        yield slots, slot, rng.choice(other_values(slot, slots[slot]))


def test_parse_mr() -> None:
    assert parse_mr("name[The Mill], customer rating[5 out of 5]") == (
        ("name", "The Mill"),
        ("customer rating", "5 out of 5"),
    )
    assert parse_mr("near[Café Rouge]") == (("near", "Café Rouge"),)


@pytest.mark.parametrize("source", ["", "The Mill", "name[The Mill", "name[A] food[B]", "name[A], ", "[A]", "name[A]]"])
def test_what_is_no_mr_is_named(source: str) -> None:
    with pytest.raises(ValueError, match="not a meaning representation") as caught:
        parse_mr(source)
    assert repr(source) in str(caught.value)


def test_generated_references_have_no_errors() -> None:
    for example in make_splits(800, 2).train:
        for text in example.references:
            found = slot_errors(example.source, text)
            assert found == SlotErrors(0, 0, len(parse_mr(example.source))), (example.source, text)


def test_a_changed_mr_costs_one_error() -> None:
    rng = random.Random(0)
    for slots, slot, value in changed():
        text = describe(slots, rng.randrange(60), rng)
        found = slot_errors(to_source({**slots, slot: value}), text)
        open_class = slot in ("name", "near")  # any other name is simply not there
        assert (found.missing, found.wrong) == ((1, 0) if open_class else (0, 1)), (slots, slot, value, text)


def test_a_changed_text_costs_one_error() -> None:
    rng = random.Random(1)
    for slots, slot, value in changed():
        text = describe({**slots, slot: value}, rng.randrange(60), rng)
        found = slot_errors(to_source(slots), text)
        assert found.missing + found.wrong == 1, (slots, slot, value, text)


def test_a_slot_left_out_of_the_text_is_missing() -> None:
    rng = random.Random(2)
    checked = 0
    for slots, slot, _ in changed():
        fewer = {key: value for key, value in slots.items() if key != slot}
        if slot == "name" or len(fewer) < 3:
            continue
        text = describe(fewer, rng.randrange(60), rng)
        assert slot_errors(to_source(slots), text) == SlotErrors(1, 0, len(slots)), (slots, slot, text)
        checked += 1
    assert checked > 100


def test_an_empty_text_misses_everything() -> None:
    assert slot_errors(FULL, "") == SlotErrors(8, 0, 8)


@pytest.mark.parametrize(
    ("text", "missing", "wrong"),
    [
        ("Aromi, a pub near Café Rouge by the river, has cheap Italian food, 3 stars and is not for kids.", 0, 0),
        ("Aromi, a pub near Cafe Rouge by the river, has cheap pasta and average ratings. Adults only.", 0, 0),
        ("Aromi, a pub near Café Rouge by the river, has cheap Italian food, 3 stars and is for kids.", 0, 1),
        ("Aromi, a pub near Café Rouge by the river, has cheap Italian food and 3 stars.", 1, 0),
        ("Aromi, a pub near Café Rouge by the river, has expensive Italian food, 3 stars, no kids.", 0, 1),
        ("Aromi, a coffee shop near Café Rouge in the city centre, has cheap Italian food, 3 stars, no kids.", 0, 2),
        ("A pub by the river with cheap Italian food and 3 stars, not family-friendly.", 2, 0),
        ("Aromi is near Café Rouge.", 6, 0),  # the café is part of a name, not what kind of place it is
    ],
)
def test_by_hand(text: str, missing: int, wrong: int) -> None:
    assert slot_errors(FULL, text) == SlotErrors(missing, wrong, 8)


@pytest.mark.parametrize(
    ("slot", "value", "text"),
    [
        ("familyFriendly", "no", "It isn't a family-friendly place."),
        ("familyFriendly", "no", "It is not suitable for young children."),
        ("familyFriendly", "yes", "It is not cheap and welcomes families."),
        ("familyFriendly", "yes", "It is not far from the river and family friendly."),
        ("priceRange", "high", "The prices are high and it has a low rating."),
        ("customer rating", "low", "The prices are high and it has a low rating."),
        ("priceRange", "moderate", "It has a moderate price range and a high customer rating."),
        ("customer rating", "high", "It has a moderate price range and a high customer rating."),
        ("priceRange", "high", "It has a high price range and an average customer rating."),
        ("customer rating", "average", "It has a high price range and an average customer rating."),
        ("priceRange", "£20-25", "Expect to pay £20 to £25."),
        ("customer rating", "1 out of 5", "A one-star venue."),
        ("food", "Martian", "They cook Martian food."),  # a value that no table knows must stand as it is
    ],
)
def test_tricky_wordings(slot: str, value: str, text: str) -> None:
    assert slot_errors(f"{slot}[{value}]", text) == SlotErrors(0, 0, 1)


def test_words_may_stand_for_figures_but_not_the_reverse() -> None:
    assert slot_errors("priceRange[less than £20]", "It is cheap.").wrong == 0
    assert slot_errors("priceRange[cheap]", "It costs less than £20.").wrong == 1


def test_rate_counts_errors_over_slots() -> None:
    good, bad = "name[A], familyFriendly[no]", "name[B], familyFriendly[yes]"
    assert slot_error_rate([good, bad], ["A is for adults only.", "A is for adults only."]) == 2 / 4
    with pytest.raises(ValueError, match="as many texts"):
        slot_error_rate([good], [])
    with pytest.raises(ValueError, match="some"):
        slot_error_rate([], [])


@pytest.mark.skipif(not E2E.is_dir(), reason=f"needs the E2E data in {E2E}")
def test_people_and_a_good_system_make_few_errors() -> None:
    with open(E2E / "testset_w_refs.csv", encoding="utf-8", newline="") as file:
        human = [(row["mr"], row["ref"]) for row in csv.DictReader(file)]
    with open(E2E / "tgen_test_outputs.tsv", encoding="utf-8", newline="") as file:
        tgen = [(row["MR"], row["output"]) for row in csv.DictReader(file, delimiter="\t")]
    # People left things out of these references; the challenge's baseline left out less (Dušek et al. 2019).
    assert slot_error_rate([mr for mr, _ in human], [text for _, text in human]) < 0.12
    assert slot_error_rate([mr for mr, _ in tgen], [text for _, text in tgen]) < 0.06
    # And texts of another MR are caught: rotate them far enough to meet a different one.
    shifted = [text for _, text in tgen[100:] + tgen[:100]]
    assert slot_error_rate([mr for mr, _ in tgen], shifted) > 0.4
