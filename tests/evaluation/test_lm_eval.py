"""Tasks of lm-evaluation-harness, from local files, on a real (tiny) model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.errors import NotFinite, UserError
from harness.evaluation.lm_eval import TaskScores, compare
from harness.evaluation.lm_eval_tasks import load_tasks
from harness.results.lines import read_lines
from harness.results.record import Record
from tests.support.lm_eval import CHOICES, CHOSEN, COLOURS, NUMBERS, QUESTIONS, WRITTEN, chosen, scores, write_task
from tests.support.tiny import adapted, settings


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two tasks and their data."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    folder = tmp_path / "tasks"
    folder.mkdir()
    write_task(folder, "colours", {"test": COLOURS}, CHOSEN, "acc")
    write_task(folder, "repeat", {"test": NUMBERS}, WRITTEN, "exact_match")
    return folder


def test_a_choice_is_the_likeliest_answer(tasks: Path) -> None:
    """The witness sums the log-probabilities of each answer's tokens in a plain forward pass."""
    a = adapted(["method=lora", *chosen(tasks, "colours")])
    a.model.eval()
    found = scores(a)
    rights = []
    for question, right in QUESTIONS:
        sums = []
        for choice in CHOICES:
            prompt = a.tokenizer(question)["input_ids"]
            ids = torch.tensor([a.tokenizer(f"{question} {choice}")["input_ids"]])
            with torch.no_grad():
                log_p = a.model(input_ids=ids).logits.log_softmax(-1)[0, :-1]
            sums.append(log_p.gather(1, ids[0, 1:, None])[len(prompt) - 1 :].sum().item())
        rights.append(float(max(range(3), key=sums.__getitem__) == right))
    assert [line["acc"] for line in found.lines] == rights
    assert found.results == {"colours": {"acc,none": sum(rights) / 4}}
    assert found.better == {"colours": {"acc,none": "higher"}}
    assert not any("The sky" in json.dumps(line) for line in found.lines)


@pytest.mark.parametrize("method", ["lora", "prefix_tuning", "prompt_tuning"])
def test_answers_are_the_same_at_any_batch_size(method: str, tasks: Path) -> None:
    a = adapted([f"method={method}", *chosen(tasks, "repeat")])
    for name, parameter in a.model.named_parameters():
        if parameter.requires_grad and "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    found = [[line["answer"] for line in scores(a, batch_size).lines] for batch_size in (1, 4)]
    assert found[0] == found[1]


def test_a_record_holds_the_tasks_before_and_after(
    tasks: Path, run_point: Callable[..., Record], tmp_path: Path
) -> None:
    both = chosen(tasks, "colours", "repeat")
    base = run_point("method=zero_shot", *both)
    tuned = run_point("method=lora", "method.lr=0.05", *both)
    assert base.status == tuned.status == "ok"
    assert base.lm_eval
    assert tuned.lm_eval
    for task in ("colours", "repeat"):
        assert base.lm_eval[task].before == base.lm_eval[task].after == tuned.lm_eval[task].before
        assert (base.lm_eval[task].lost, base.lm_eval[task].gained) == (0, 0)
    colours = tuned.lm_eval["colours"]
    assert (colours.examples, colours.right) == (4, "acc")
    assert colours.lost is not None
    assert colours.gained is not None
    change = 4 * (colours.after["acc,none"] - colours.before["acc,none"])
    assert colours.gained - colours.lost == pytest.approx(change)
    lines = read_lines(tmp_path / "results/runs" / tuned.id / "lm_eval.jsonl")
    assert [line["task"] for line in lines] == ["colours"] * 4 + ["repeat"] * 4
    plain = run_point("method=zero_shot")
    assert plain.id != base.id
    assert plain.lm_eval is None
    assert plain.null_reasons["lm_eval"] == "lm_eval.tasks names none"


def test_lost_and_gained_are_counted_apart() -> None:
    def made(*rights: float) -> TaskScores:
        lines = [
            {"task": "t", "index": i, "filter": "none", "answer": [], "acc": right} for i, right in enumerate(rights)
        ]
        return TaskScores({"t": {"acc,none": 0.5}}, {"t": {}}, {"t": []}, {"t": 0}, False, {"t": 0}, lines)

    found = compare(made(1, 1, 0, 0), made(0, 1, 1, 0))["t"]
    assert (found.examples, found.lost, found.gained) == (4, 1, 1)


def test_bad_tasks(tasks: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        settings(*chosen(tmp_path / "none", "colours"))
    with pytest.raises(UserError, match="colour: there is none; did you mean colours"):
        load_tasks(settings(*chosen(tasks, "colour")).lm_eval)
    (tasks / "colours.test.jsonl").unlink()
    with pytest.raises(UserError, match="colours: cannot be loaded"):
        load_tasks(settings(*chosen(tasks, "colours")).lm_eval)


@pytest.mark.parametrize("task", ["colours", "repeat"])
def test_a_model_that_gives_no_numbers_is_told(tasks: Path, task: str) -> None:
    """The likeliest of log-likelihoods that are NaN would be right now and then."""
    a = adapted(["method=lora", *chosen(tasks, task)])
    a.model.get_output_embeddings().weight.data.fill_(torch.nan)
    with pytest.raises(NotFinite):
        scores(a)
