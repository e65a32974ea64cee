"""Trained on commonsense-170k, scored on LLM-Adapters' eight sets and their mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import metrics
from harness.data import load
from harness.errors import UserError
from harness.evaluation.scores import Scores, together
from tests.support.command_line import TINY, Harness
from tests.support.tasks import chosen, problems

SETS = {
    "boolq": "true",
    "piqa": "solution2",
    "social_i_qa": "answer3",
    "hellaswag": "ending4",
    "winogrande": "option1",
    "ARC-Easy": "answer1",
    "ARC-Challenge": "answer5",
    "openbookqa": "answer4",
}
PROMPT = """Below is an instruction that describes a task. Write a response that appropriately completes the request. 

                ### Instruction:
                Is it boolq 1?

                ### Response:
                """
"""As the code of LLM-Adapters has it, its indentation included."""


def row(name: str, number: int, answer: str) -> dict[str, str]:
    text = f"Is it {name} {number}?"
    return {"instruction": text, "input": "", "output": f"the correct answer is {answer}", "answer": answer}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The layout of LLM-Adapters' repository."""
    (tmp_path / "ft-training_set").mkdir()
    rows = [row("training", i, "true") for i in range(40)]
    (tmp_path / "ft-training_set/commonsense_170k.json").write_text(json.dumps(rows))
    for name, answer in SETS.items():
        (tmp_path / "dataset" / name).mkdir(parents=True)
        (tmp_path / "dataset" / name / "test.json").write_text(json.dumps([row(name, i, answer) for i in range(3)]))
    return tmp_path


def test_prompt_roles_and_answers(repository: Path) -> None:
    source = chosen("data=commonsense", f"data.tasks.commonsense.path={repository}").data
    splits = load(source)[0]
    assert {each.task for each in (*splits.train, *splits.validation)} == {"commonsense"}
    assert {each.task: each.references[0] for each in splits.test} == SETS
    assert len(splits.test) == 24
    assert splits.train[0].references == ("the correct answer is true",)
    assert source.render(splits.test[1]) == PROMPT


def test_an_input_has_a_place_of_its_own(repository: Path) -> None:
    given = row("boolq", 1, "true") | {"input": "A text."}
    (repository / "dataset/boolq/test.json").write_text(json.dumps([given]))
    source = chosen("data=commonsense", f"data.tasks.commonsense.path={repository}").data
    text = source.render(load(source)[0].test[0])
    assert text.startswith("Below is an instruction that describes a task, paired with an input")
    assert (
        "### Instruction:\n                Is it boolq 1?\n\n                ### Input:\n                A text.\n"
        in text
    )


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        ("the correct answer is true", "true", True),
        ("false, not true", "true", False),
        ("untrue", "true", True),  # as in the paper's code, which looks for no whole words
        ("True", "true", False),
        ("the correct answer is solution2", "solution2", True),
        ("answer1 is true", "true", True),  # the words of another set do not count
        ("answer6, or answer5", "answer5", True),
        ("ending", "ending4", False),
        ("", "option1", False),
    ],
)
def test_the_first_answer_word_counts(text: str, answer: str, right: bool) -> None:
    assert metrics.compute(["answer_words"], [text], [[answer]])["accuracy"].value == right


def test_a_reference_that_is_no_answer_word() -> None:
    with pytest.raises(UserError, match=r"item 2 is none of true\|false, "):
        metrics.compute(["answer_words"], ["true", "yes"], [["true"], ["yes"]])


def test_the_mean_weighs_each_task_the_same() -> None:
    parts = [
        ("a", [0], Scores({"accuracy": 1.0}, {}, ({"index": 0},), better={"accuracy": "higher"})),
        ("b", [1, 2, 3], Scores({"accuracy": 0.5}, {}, ({"index": 0},) * 3, better={"accuracy": "higher"})),
    ]
    found = together(parts, ["accuracy", "bleu"])
    assert found.quality == {"mean/accuracy": 0.75, "mean/bleu": None, "a/accuracy": 1.0, "b/accuracy": 0.5}
    assert found.reasons == {"mean/bleu": "a has no bleu"}
    assert found.better["mean/accuracy"] == "higher"


def test_a_task_that_is_only_scored_is_not_trained_on(repository: Path) -> None:
    given = ("data=commonsense", f"data.tasks.commonsense.path={repository}")
    with pytest.raises(UserError) as refused:
        chosen(*given, "data.tasks.boolq.files.train=x.json")
    assert "name both, or neither" in refused.value.problems[0]
    lines = problems("data=commonsense")
    assert lines[0].startswith("data=commonsense: give data.tasks.commonsense.path=FOLDER")


def test_a_run_of_it(repository: Path, harness: Harness) -> None:
    sizes = ("train.max_length=400", "model.context=500", "eval.max_new_tokens=4", "eval.test_examples=1")
    given = ("data=commonsense", f"data.tasks.commonsense.path={repository}", "method=lora", *sizes)
    ran = harness(*given, small=TINY)
    assert ran.returncode == 0, ran.stderr
    (record,) = harness.records().values()
    scores = [record.quality[f"{name}/accuracy"] for name in SETS]
    assert set(record.quality) == {"val_loss", "mean/accuracy", *(f"{name}/accuracy" for name in SETS)}
    assert record.quality["mean/accuracy"] == pytest.approx(sum(score or 0 for score in scores) / 8)
    assert record.test_examples == 8
