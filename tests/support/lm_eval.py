"""Tasks of lm-evaluation-harness in a folder, with their data, so that nothing is fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from harness.evaluation.lm_eval import TaskScores, score_tasks
from harness.evaluation.lm_eval_model import wrapped
from harness.evaluation.lm_eval_tasks import load_tasks
from tests.support.tiny import Adapted

CHOICES = ["blue", "green", "red and white"]
QUESTIONS = [("The sky is", 0), ("The grass is", 1), ("The flag is", 2), ("The sea is", 0)]
COLOURS = [{"question": text, "choices": CHOICES, "answer": right} for text, right in QUESTIONS]
NUMBERS = [{"question": f"Repeat {'very ' * n}often: {n}", "answer": str(n)} for n in range(4)]
CHOSEN = {"output_type": "multiple_choice", "doc_to_choice": "{{choices}}"}
WRITTEN = {
    "output_type": "generate_until",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 6, "do_sample": False},
}


def write_task(
    folder: Path, name: str, splits: dict[str, list[dict[str, Any]]], kind: dict[str, Any], metric: str, **more: Any
) -> None:
    """A task's file, and its rows by split, of a `question` and an `answer` each."""
    files = {split: str(folder / f"{name}.{split}.jsonl") for split in splits}
    for split, rows in splits.items():
        Path(files[split]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    content = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        **{f"{'training' if split == 'train' else split}_split": split for split in splits},
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": metric, "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content | kind | more))


def chosen(folder: Path, *tasks: str) -> list[str]:
    """The overrides that ask for these tasks of the folder."""
    return [f"lm_eval.tasks=[{','.join(tasks)}]", f"lm_eval.path={folder}"]


def scores(a: Adapted, batch_size: int = 4) -> TaskScores:
    """Of a model, by the settings it was made with."""
    lm = wrapped(a.settings.method.generate, a.model, a.tokenizer, batch_size)
    return score_tasks(lm, load_tasks(a.settings.lm_eval), a.settings.lm_eval)
