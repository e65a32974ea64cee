"""The panel of small instructions and the general text."""

from collections import Counter

import pytest

from harness.data.panel import LABELS, TASKS, PanelItem, correct, general_text, load_panel


def item(task: str, *answers: str, prompt: str = "") -> PanelItem:
    return PanelItem(task, prompt, answers)


def test_eight_items_for_each_task() -> None:
    panel = load_panel()
    assert Counter(entry.task for entry in panel) == dict.fromkeys(TASKS, 8)
    assert len({entry.prompt for entry in panel}) == len(panel)


@pytest.mark.parametrize("entry", load_panel(), ids=lambda entry: entry.prompt[-30:])
def test_every_accepted_answer_is_correct_and_nothing_is_not(entry: PanelItem) -> None:
    assert entry.answers
    assert all(correct(entry, answer) for answer in entry.answers)
    assert all(correct(entry, f"  {answer.upper()}.\nAnd more.") for answer in entry.answers)
    assert not correct(entry, "")
    assert not correct(entry, "I do not know")
    assert not correct(entry, f"I do not know\n{entry.answers[0]}")


def test_sums_are_right() -> None:
    for entry in load_panel():
        if entry.task == "sum":
            left, right = (int(word.strip("?")) for word in entry.prompt.split() if word.strip("?").isdigit())
            assert entry.answers == (str(left + right),)


def test_entities_and_words_stand_in_their_prompts() -> None:
    for entry in load_panel():
        if entry.task in ("entity", "repeat"):
            assert entry.answers[0] in entry.prompt


def test_sentiments_are_balanced() -> None:
    assert Counter(entry.answers for entry in load_panel() if entry.task == "sentiment") == {(x,): 4 for x in LABELS}


@pytest.mark.parametrize(
    ("entry", "output", "expected"),
    [
        (item("entity", "Paris"), "The city is Paris.", True),
        (item("entity", "Paris"), "Parisian", False),
        (item("entity", "Marie Curie", "Curie"), "marie curie!", True),
        (item("entity", "Marie Curie"), "Curie Marie", False),
        (item("repeat", "apple"), "\n\n  'Apple'\n", True),
        (item("repeat", "apple"), "apples", False),
        (item("sum", "4"), "The answer is 4.", True),
        (item("sum", "4"), "5, or maybe 4", False),
        (item("sum", "4"), "44", False),
        (item("sum", "4"), "-4", False),
        (item("sum", "4"), "4.5", False),
        (item("sum", "4", prompt="What is 2 + 2?"), "2 + 2 = 4", True),
        (item("sum", "4", prompt="What is 2 + 2?"), "2+2=5", False),
        (item("sum", "4", prompt="What is 4 + 0?"), "4 + 0 = 5", False),
        (item("sentiment", "positive"), "Positive.", True),
        (item("sentiment", "positive"), "positive or negative", False),
        (item("sentiment", "negative"), "positive", False),
    ],
)
def test_rule(entry: PanelItem, output: str, expected: bool) -> None:
    assert correct(entry, output) is expected


def test_general_text_is_plain_prose_in_paragraphs() -> None:
    text = general_text()
    assert 1200 <= len(text.split()) <= 1600
    assert len(text.split("\n\n")) >= 10
    assert text.isascii()
    assert "  " not in text
    assert "restaurant" not in text
