"""Every family loads as a metric of the library `evaluate`, without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import metrics

ROOT = Path(__file__).parents[2]
LOAD_ALL = """
import json, socket, sys
def refuse(*arguments): raise AssertionError("a connection was tried")
socket.socket.connect = refuse
import evaluate
samples = {
    "calibration": (['{"1": 0.8, "2": 0.2}', '{"1": 0.4, "2": 0.6}'], [["1"], ["2"]]),
    "numeric": (["1", "2"], [["#### 1"], ["#### 3"]]),
    "answer_words": (["true", "option1 or option2"], [["true"], ["option2"]]),
    "boxed": (["so $\\\\boxed{1}$", "2"], [["\\\\boxed{1}"], ["\\\\boxed{2}"]]),
    "correlation": (["1", "2"], [["1"], ["3"]]),
    "classes": (["1", "2"], [["1"], ["1"]]),
}
found = {}
for family in sys.argv[2:]:
    if family == "pass_at_1":
        continue  # it runs code, which is asked for elsewhere
    metric = evaluate.load(sys.argv[1], family)
    pair = ["a cat sat here", "a pub"], [["a cat sat here", "the cat"], ["a pub"]]
    texts, references = samples.get(family, pair)
    more = {"sources": ["name[Zizzi]", "name[Aromi]"]} if family in ("slots", "surface") else {}
    found[family] = metric.compute(predictions=texts, references=references, **more)
one = evaluate.load(sys.argv[1], "bleu")
one.add_batch(predictions=["a cat"], references=["a cat"])
found["one text"] = one.compute(signatures=True)
for wrong in ({}, {"config_name": "blue"}):
    try:
        evaluate.load(sys.argv[1], **wrong)
    except ValueError as error:
        found[str(wrong)] = str(error)
print(json.dumps(found))
"""


def test_each_family_loads_offline(tmp_path: Path) -> None:
    """In a process whose connections fail, with nothing in the library's cache, and without Java."""
    places = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1", "PATH": ""}
    answer = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, "harness/metrics/tools/evaluate_module.py", *metrics.families()],
        cwd=ROOT, env=os.environ | places, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["bleu"]["bleu"] == pytest.approx(1)
    assert found["classes"]["accuracy"] == 0.5
    assert found["numeric"]["numeric_match"] == 50
    assert found["boxed"]["boxed_match"] == 50
    assert found["rouge_l"]["rouge_l"] == 1
    assert found["slots"]["ser"] == 100
    assert found["meteor"]["meteor"] is None
    assert found["one text"]["signatures"]["bleu"].startswith("bleu|tok:13a|case:lc|refs:1|")
    for wrong in ("{}", "{'config_name': 'blue'}"):
        assert "name a family" in found[wrong]
        assert "bleu, " in found[wrong]
