"""MATH, whose subjects are configurations of one data set, alone and after MetaMathQA."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from harness.data import load
from harness.places import CONF
from tests.support.command_line import TINY, Harness
from tests.support.tasks import chosen, problems

SUBJECTS = yaml.safe_load((CONF / "data/math.yaml").read_text())["hub_name"]


def row(subject: str, split: str, number: int) -> dict[str, object]:
    """As `EleutherAI/hendrycks_math` and `hendrycks/competition_math` have it."""
    solution = f"We add.\nIt is $\\boxed{{\\frac{{{number}}}{{7}}}}$."
    problem = f"What is {number}/14 twice, in {subject} ({split})?"
    return {"problem": problem, "level": "Level 5", "type": subject.title(), "solution": solution}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The layout of `EleutherAI/hendrycks_math`: a folder a subject, each a configuration."""
    folder = tmp_path / "math"
    described = []
    for subject in SUBJECTS:
        (folder / subject).mkdir(parents=True)
        files = []
        for split, count in (("train", 6), ("test", 2)):
            name = f"{subject}/{split}-00000-of-00001.parquet"
            pd.DataFrame([row(subject, split, i) for i in range(count)]).to_parquet(folder / name)
            files.append({"split": split, "path": name})
        described.append({"config_name": subject, "data_files": files})
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': described})}---\n")
    return folder


def test_all_subjects_from_the_hub_and_from_its_files(repository: Path) -> None:
    source = chosen("data=math", f"data.hub_id={repository}").data
    splits = load(source)[0]
    assert [len(each) for each in (splits.train, splits.validation, splits.test)] == [40, 2, 14]  # 42 divided 90 to 5
    assert splits.test[0].source == "Problem: What is 0/14 twice, in algebra (test)?\nAnswer:"
    assert splits.test[0].references == ("We add.\nIt is $\\boxed{\\frac{0}{7}}$.",)
    assert load(chosen("data=math", f"data.path={repository}").data)[0] == splits
    one = load(chosen("data=math", f"data.hub_id={repository}", "data.hub_name=[geometry]").data)[0]
    assert [each.source.split()[6] for each in one.test] == ["geometry"] * 2


def test_a_subject_that_there_is_not(repository: Path) -> None:
    (line,) = problems("data=math", f"data.hub_id={repository}", "data.hub_name=[algebra,topology]")
    assert "cannot be loaded" in line
    assert "topology" in line


def test_trained_on_metamathqa_and_scored_on_math(repository: Path, harness: Harness) -> None:
    meta = repository.parent / "MetaMathQA-395K.json"
    rows = [{"query": f"What is {i} + 1?", "response": f"It is {i + 1}. The answer is: {i + 1}"} for i in range(200)]
    meta.write_text(json.dumps(rows))
    given = ["data=metamathqa_math", f"data.tasks.metamathqa.path={meta}", f"data.tasks.math.path={repository}"]
    given.append("data.tasks.metamathqa.shares={train:0.9,validation:0.05,test:0.05}")
    source = chosen(*given).data
    splits = load(source)[0]
    assert {each.task for each in (*splits.train, *splits.validation)} == {"metamathqa"}
    assert {each.task for each in splits.test} == {"math"}
    for example in (splits.train[0], splits.test[0]):
        text = source.render(example)
        assert text.startswith("Below is an instruction that describes a task. Write a response that appropriately")
        assert "\n\n### Instruction:\nWhat is " in text
        assert text.endswith("?\n\n### Response: Let's think step by step.")
    sizes = ("train.max_length=500", "model.context=600", "eval.max_new_tokens=8")
    ran = harness(*given, "method=lora", *sizes, small=TINY)
    assert ran.returncode == 0, ran.stderr
    (record,) = harness.records().values()
    assert record.status == "ok"
    assert set(record.quality) == {"val_loss", "math/boxed_match"}
    assert record.signatures["math/boxed_match"].startswith("boxed_match|")
