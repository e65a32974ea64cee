"""Sets of instructions in their published layouts: Alpaca, OpenAssistant as QLoRA takes it, Tulu 3."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.data import load
from harness.errors import UserError
from tests.support.command_line import TINY, Harness
from tests.support.tasks import chosen, hub, problems, write

ALPACA: list[dict[str, object]] = [
    {"instruction": f"Name {i} fruits.", "input": "", "output": f"Here are {i}:\n- apple", "text": "…"}
    for i in range(40)
]
ALPACA += [{"instruction": "Sort.", "input": f"{i}, 1", "output": f"1, {i}", "text": "…"} for i in range(40)]
WITHOUT = """Below is an instruction that describes a task. Write a response that appropriately completes the request.

### Instruction:
Name 7 fruits.

### Response:"""
WITH = """Below is an instruction that describes a task, paired with an input that provides further context. Write a \
response that appropriately completes the request.

### Instruction:
Sort.

### Input:
7, 1

### Response:"""
"""As Stanford's code has them."""


@pytest.fixture
def alpaca(tmp_path: Path) -> Path:
    path = tmp_path / "alpaca_data.json"
    path.write_text(json.dumps([*ALPACA, ALPACA[0] | {"instruction": "Say nothing.", "output": ""}]))
    return path


def test_alpaca_in_both_prompts(alpaca: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = load(chosen("data=alpaca", f"data.path={alpaca.parent}").data)[0]
    examples = {each.source: each.references for each in (*splits.train, *splits.validation, *splits.test)}
    assert len(examples) == 80
    assert examples[WITHOUT] == ("Here are 7:\n- apple",)
    assert examples[WITH] == ("1, 7",)
    said = capsys.readouterr().err
    assert "data=alpaca: 1 of 81 rows are left out; the first: alpaca_data.json, row 81: data.answer gives no" in said
    load.cache_clear()
    (line,) = problems("data=alpaca", f"data.path={alpaca.parent}", "data.unfit=error")
    assert line.startswith("alpaca_data.json, row 81: data.answer gives no text")


def test_a_file_of_nothing_but_unfit_rows_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "all.jsonl", [{"instruction": "x", "input": "", "output": ""}] * 3)
    with pytest.raises(UserError, match=r"row 1: data\.answer gives no text"):
        load(chosen("data=alpaca", f"data.path={tmp_path / 'all.jsonl'}").data)


def test_guanaco_asks_for_the_last_answer(tmp_path: Path) -> None:
    def text(n: int) -> dict[str, object]:
        return {"text": f"### Human: What is {n}?### Assistant: A number.\n### Human: Which?### Assistant: It is {n}."}

    rows: dict[str, list[dict[str, object]]] = {"train": [text(n) for n in range(50)]}
    rows |= {"test": [text(50), {"text": "### Human: Hm?### Assistant: Yes.### Human: So?"}, {"text": "### Human: Oh"}]}
    names = {"train": "openassistant_best_replies_train", "test": "openassistant_best_replies_eval"}
    for split, each in rows.items():
        write(tmp_path / f"{names[split]}.jsonl", each)
    splits = load(chosen("data=guanaco", f"data.path={tmp_path}").data)[0]
    assert [len(each) for each in (splits.train, splits.validation, splits.test)] == [49, 1, 2]
    first, second = splits.test
    assert first.source == "### Human: What is 50?### Assistant: A number.\n### Human: Which?### Assistant:"
    assert (first.references, second.references) == (("It is 50.",), ("Yes.",))
    assert second.source == "### Human: Hm?### Assistant:"


TULU: list[dict[str, object]] = [
    {
        "id": f"ai2-adapt-dev/x_{n}",
        "messages": [{"role": "user", "content": f"Write {n}."}, {"role": "assistant", "content": f"{n}\nDone."}],
        "source": "ai2-adapt-dev/x",
    }
    for n in range(30)
]


def test_tulu_leaves_out_what_it_cannot_train_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = TULU[0] | {"messages": [{"role": "user", "content": "And?"}]}
    given = hub(tmp_path, "default", {"train": [odd, *TULU], "validation": TULU, "test": TULU})
    shares = "data.shares={train:0.8,validation:0.1,test:0.1}"
    splits = load(chosen("data=tulu3", given, shares).data)[0]
    assert [len(each) for each in (splits.train, splits.validation, splits.test)] == [24, 3, 3]
    assert splits.train[0].turns[0][1].startswith("Write ")
    assert "1 of 31 rows are left out; the first: train, row 1: ends with a turn of the user" in capsys.readouterr().err
    load.cache_clear()
    (line,) = problems("data=tulu3", given, shares, "data.unfit=error")
    assert "ends with a turn of the user" in line
    (line,) = problems("data=tulu3", given, shares, "data.column=turns")
    assert "has no column turns" in line


def test_a_run_of_alpaca(alpaca: Path, harness: Harness) -> None:
    ran = harness(
        "data=alpaca",
        f"data.path={alpaca.parent}",
        "method=lora",
        "train.max_length=400",
        "model.context=500",
        "eval.test_examples=1",
        small=TINY,
    )
    assert ran.returncode == 0, ran.stderr
    assert "1 of 81 rows are left out" in ran.stderr
    (record,) = harness.records().values()
    assert {"val_loss", "rougeL", "length_ratio"} <= set(record.quality)
    assert record.bits_per_byte is not None
