"""Trained on one data set, scored on another; and the grid of PEFT's own comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.data import load
from harness.errors import UserError
from tests.support.command_line import TINY, Harness
from tests.support.tasks import chosen, problems, write


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, ...]:
    """MetaMathQA and GSM8K as small files."""
    (tmp_path / "meta").mkdir()
    (tmp_path / "gsm").mkdir()
    rows = [{"query": f"What is {i} + 1?", "response": f"It is {i + 1}. The answer is: {i + 1}"} for i in range(200)]
    (tmp_path / "meta/MetaMathQA-395K.json").write_text(json.dumps(rows))
    for split in ("train", "test"):
        write(
            tmp_path / f"gsm/{split}.jsonl", [{"question": f"{split} {i}?", "answer": f"so #### {i}"} for i in range(8)]
        )
    tasks = f"data.tasks.metamathqa.path={tmp_path / 'meta'}", f"data.tasks.gsm8k.path={tmp_path / 'gsm'}"
    shares = "data.tasks.metamathqa.shares={train:0.9,validation:0.05,test:0.05}"
    return ("data=metamathqa", *tasks, shares)


def test_one_is_trained_on_and_the_other_scored(given: tuple[str, ...]) -> None:
    source = chosen(*given).data
    splits = load(source)[0]
    assert {each.task for each in (*splits.train, *splits.validation)} == {"metamathqa"}
    assert {each.task for each in splits.test} == {"gsm8k"}
    assert len(splits.test) == 8
    assert source.weights() == {"metamathqa": 1.0}
    assert source.render(splits.test[0]) == "Question: test 0? Think step by step.\nAnswer:"
    assert splits.train[0].references[0].startswith("It is ")


def test_what_is_scored_is_part_of_what_a_run_is(given: tuple[str, ...]) -> None:
    runs = {chosen(*given, *more).run_id() for more in ((), ("data.scored=[metamathqa]",), ("data.trained=null",))}
    assert len(runs) == 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("data.scored=[gsm]", "data.scored: there is no task gsm; choose from: metamathqa, gsm8k"),
        ("data.trained=[]", "data.trained: is empty; choose from: metamathqa, gsm8k"),
    ],
)
def test_a_role_of_nobody(given: tuple[str, ...], more: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        chosen(*given, more)
    assert said in refused.value.problems


def test_a_run_of_it(given: tuple[str, ...], harness: Harness) -> None:
    ran = harness(*given, "method=lora", "train.max_length=400", "eval.max_new_tokens=8", small=TINY)
    assert ran.returncode == 0, ran.stderr
    (record,) = harness.records().values()
    assert record.status == "ok"
    assert {name.partition("/")[0] for name in record.quality} == {"val_loss", "gsm8k"}


def test_slips_in_tasks_are_named(given: tuple[str, ...]) -> None:
    (line,) = problems(*given, "data.tasks.gsm8k.path=/nothing")
    assert line.startswith("data.tasks.gsm8k: ")
