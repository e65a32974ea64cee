"""A trial whose answers choose: its score is that of a full run on the same examples, and no test example is read."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.evaluation.predict import predict, score_task
from harness.launch.progress_file import ProgressFile
from harness.prepare.base_model import load_base
from harness.results.folder import RunFolder, write_record
from harness.results.record import Record
from harness.run.progress import RunProgress
from harness.run.trial import try_out
from tests.support import tiny
from tests.support.tiny import adapted, settings
from tests.support.trainers import never, quiet, trainer

SOME = ("data=jsonl", "data.prompt='{{ q }}'", "data.answer='{{ a }}'", "data.metrics=[translation]")
SMALL = tuple(word for word in tiny.SMALL if word != "data.size=100")
LORA = ("method=lora", "method.dropout=0.1", "method.lr=0.02", "train.validation_examples=8")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data of one's own have no `data.size`."""
    monkeypatch.setattr(tiny, "SMALL", SMALL)


def rows(seed: int, count: int) -> list[dict[str, str]]:
    chance = random.Random(seed)
    words = ["the", "a", "cat", "dog", "sat", "ran", "on", "mat", "today", "night", "rain", "fell", "bread", "warm"]
    return [{"q": f"{seed} {i} {' '.join(chance.sample(words, 4))}", "a": " ".join(chance.sample(words, 5))}
            for i in range(count)]  # fmt: skip


def written(folder: Path, validation: int, test: int) -> str:
    """Files of one training split, and a validation and a test split that are drawn by these seeds."""
    folder.mkdir()
    splits = {"train": rows(0, 40), "validation": rows(validation, 8), "test": rows(test, 8)}
    for name, lines in splits.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"data.path={folder}"


def tried(folder: Path, words: Sequence[str], *ends: str) -> Record:
    """A trial in stretches that go to these steps."""
    for end in ends:
        chosen = settings(*words, f"trial={end}", f"results={folder}")
        place = RunFolder.of(folder, chosen.run_id())
        place.path.mkdir(parents=True, exist_ok=True)
        progress = RunProgress(ProgressFile(place.progress).write, lambda: False, None)
        record = try_out(chosen, place, load_base(chosen), progress)
        write_record(folder, record)
    return record


@pytest.mark.parametrize(("by", "better"), [("chrf", "higher"), ("ter", "lower")])
def test_the_score_of_a_trial_is_that_of_the_full_run_on_those_examples(
    by: str, better: str, tmp_path: Path, small: None
) -> None:
    """The witness is a training of the same examples whose test split is the trial's validation."""
    own, other = written(tmp_path / "own", 1, 2), written(tmp_path / "other", 3, 1)
    words = (*SOME, own, *LORA, f"+tune.by={by}")
    record = tried(tmp_path / "stretches", words, "[3]", "[3,8]")
    assert record.trial is not None
    assert (record.trial.by, record.trial.better, record.resumed_from) == (by, better, 3)
    whole = adapted([*SOME, other, *LORA, "eval.test_examples=8"])
    trainer(whole, tmp_path, validate_every=None).run(never, quiet)
    whole.model.eval()
    answers = predict(whole.task, whole.settings.method.generate, whole.model, whole.forward, quiet)  # type: ignore[arg-type]
    expected = score_task(whole.task, answers)
    (last,) = [rung.answers for rung in record.trial.rungs if rung.step == 8]
    assert last is not None
    assert last.score
    assert last.score == record.quality[by] == expected.quality[by]
    assert record.signatures[by] == expected.signatures[by]
    sign = -1 if better == "higher" else 1
    cost, parts = record.trial.cost(record.trial.rungs[-1])
    assert cost == sign * last.score
    assert len(parts) == 8
    assert record.quality.keys() == {"val_loss", by}


def test_answers_change_nothing_of_the_training_nor_test_examples_of_the_trial(tmp_path: Path, small: None) -> None:
    one, two = written(tmp_path / "one", 1, 2), written(tmp_path / "two", 1, 4)
    plain = tried(tmp_path / "plain", (*SOME, one, *LORA), "[3,8]")
    scored = [tried(tmp_path / path[-3:], (*SOME, path, *LORA, "+tune.by=chrf"), "[3,8]") for path in (one, two)]
    losses = [[rung.losses for rung in record.trial.rungs] for record in (plain, *scored) if record.trial]
    assert losses[0] == losses[1] == losses[2]
    assert scored[0].trial == scored[1].trial
    assert scored[0].quality == scored[1].quality


def test_a_trial_is_another_one_by_another_score_and_by_how_answers_are_written() -> None:
    base = ("method=lora", "trial=[8]")
    known = settings(*base).run_id()
    assert settings(*base, "+tune.by=val_loss").run_id() == known
    assert settings(*base, "eval.max_new_tokens=13").run_id() == known
    by = [("+tune.by=bleu",), ("+tune.by=rougeL",), ("+tune.by=bleu", "eval.max_new_tokens=13")]
    assert len({known, *(settings(*base, *words).run_id() for words in by)}) == 4
    assert settings("method=lora", "+tune.by=bleu").run_id() == settings("method=lora").run_id()
    with_test = settings(*base, "+tune.by=bleu", "eval.test_examples=3", "eval.typos=0.1")
    assert with_test.run_id() == settings(*base, "+tune.by=bleu").run_id(), "test examples are no part of a trial"
