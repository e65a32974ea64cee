"""The panel of small instructions and the general text."""

from collections import Counter
from pathlib import Path

import pytest

from harness.data.untouched import EMBEDDED, Judge, PanelItem, correct, general_text, load_panel
from harness.errors import UserError

TASKS: dict[str, Judge] = {"entity": "words", "sum": "number", "sentiment": "label", "repeat": "words"}
LABELS = ("positive", "negative")
PANEL = load_panel(EMBEDDED)


def item(task: str, *answers: str, prompt: str = "") -> PanelItem:
    others = tuple(label for label in LABELS if label not in answers) if task == "sentiment" else ()
    return PanelItem(task, prompt, answers, TASKS[task], others)


def test_eight_items_for_each_task() -> None:
    panel = PANEL
    assert Counter((entry.task, entry.judge) for entry in panel) == dict.fromkeys(TASKS.items(), 8)
    assert len({entry.prompt for entry in panel}) == len(panel)


@pytest.mark.parametrize("entry", PANEL, ids=lambda entry: entry.prompt[-30:])
def test_every_accepted_answer_is_correct_and_nothing_is_not(entry: PanelItem) -> None:
    assert entry.answers
    assert all(correct(entry, answer) for answer in entry.answers)
    assert all(correct(entry, f"  {answer.upper()}.\nAnd more.") for answer in entry.answers)
    assert not correct(entry, "")
    assert not correct(entry, "I do not know")
    assert not correct(entry, f"I do not know\n{entry.answers[0]}")


def test_sums_are_right() -> None:
    for entry in PANEL:
        if entry.task == "sum":
            left, right = (int(word.strip("?")) for word in entry.prompt.split() if word.strip("?").isdigit())
            assert entry.answers == (str(left + right),)


def test_entities_and_words_stand_in_their_prompts() -> None:
    for entry in PANEL:
        if entry.task in ("entity", "repeat"):
            assert entry.answers[0] in entry.prompt


def test_sentiments_are_balanced() -> None:
    assert Counter(entry.answers for entry in PANEL if entry.task == "sentiment") == {(x,): 4 for x in LABELS}


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


GOOD = """
nli:
  judge: label
  items:
    - prompt: "A man sleeps. Does a man run? Answer entailment or not entailment."
      answers: [not entailment]
    - prompt: "A man sleeps. Does a man rest? Answer entailment or not entailment."
      answers: [entailment]
capital:
  judge: words
  items:
    - prompt: "What is the capital of France?"
      answers: [Paris]
"""


def test_a_panel_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "panel.yaml"
    path.write_text(GOOD)
    no, yes, capital = load_panel(str(path))
    assert [entry.task for entry in (no, yes, capital)] == ["nli", "nli", "capital"]
    assert correct(no, "Not entailment.")
    assert not correct(no, "entailment")
    assert correct(yes, "Entailment")
    assert not correct(yes, "not entailment")
    assert correct(capital, "It is Paris")


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", ["has no tasks; write one as"]),
        (b"- a\n- b\n", ["has no tasks; write one as"]),
        (b"\xff\xfe\x00", ["cannot be read as UTF-8"]),
        (b"a: [\n", ["is not YAML"]),
        (b"a: {judge: words}", ["a.items: field required; add it"]),
        (b"a: {judge: words, items: []}", ["a.items: list should have at least 1 item"]),
        (b"a: {judge: taste, items: [{prompt: p, answers: [x]}]}", ["a.judge: input should be 'words', 'label' or"]),
        (b"a: {judge: number, items: [{prompt: p, answers: [4]}]}", ["a.items.0.answers.0: ", "put it in quotes"]),
        (b"a: {judge: words, items: [{prompt: p, answers: ['!']}]}", ["an answer has a letter or a digit"]),
        (b"a: {judge: words, items: [{prompt: p, answer: [x]}]}", ["a.items.0.answers: ", "a.items.0.answer: "]),
        (b"1: {judge: words, items: [{prompt: p, answers: [x]}]}", ["1: input should be a valid string; put it in"]),
        (b"all: {judge: words, items: [{prompt: p, answers: [x]}]}", ["all: ", "another name"]),
    ],
    ids=repr,
)
def test_bad_panel_files(content: bytes, lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "panel.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        load_panel(str(path))
    problems = raised.value.problems
    assert all(problem.startswith(f"forgetting.panel={path}: ") and "\n" not in problem for problem in problems)
    assert all(any(line in problem for problem in problems) for line in lines)


def test_a_panel_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_panel(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="cannot be read"):
        load_panel(str(tmp_path))
