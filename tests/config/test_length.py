"""How long a training is, by steps or by epochs; and that what was the default is the same run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import data
from harness.config.compose import compose_settings
from harness.errors import UserError
from harness.prepare.batch import Encoded
from harness.prepare.encoding import Encoder
from harness.prepare.order import training_batches
from tests.support.command_line import Harness
from tests.support.made_models import byte_tokenizer

ROWS = 37


def settings(*words: str):  # type: ignore[no-untyped-def]
    return compose_settings(["tracker=none", *words])


@pytest.mark.parametrize(
    ("words", "steps", "warmup"),
    [
        ((), 60, 4),
        (("train.steps=60", "train.warmup_steps=4"), 60, 4),
        (("train.steps=3",), 3, 2),
        (("train.steps=1",), 1, 0),
        (("train.steps=200", "train.warmup_steps=0.1"), 200, 20),
        (("train.steps=30", "train.warmup_steps=0.05"), 30, 2),
    ],
)
def test_steps_and_warmup(words: tuple[str, ...], steps: int, warmup: int) -> None:
    train = settings(*words).train
    assert (train.steps, train.warmup_steps, train.epochs) == (steps, warmup, None)


def test_the_default_is_the_run_that_it_was() -> None:
    assert settings().run_id() == settings("train.steps=60", "train.warmup_steps=4").run_id()
    assert "epochs" not in settings().key()["settings"]["train"]


@pytest.mark.parametrize(("epochs", "size", "times"), [(1, 4, 1), (2, 4, 1), (0.5, 8, 1), (1, 3, 2), (0.001, 4, 1)])
def test_an_epoch_sees_every_pair_once(epochs: float, size: int, times: int, tmp_path: Path) -> None:
    """By counting what its batches hold."""
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"q": f"q{i}", "a": f"a{i} ||| b{i}"}) + "\n" for i in range(ROWS)))
    given = [f"data.path={path}", "data.prompt='{{ q }}'", "data.answer='{{ a }}'", "data=jsonl"]
    lengths = [f"train.epochs={epochs}", f"train.batch_size={size}", f"train.accumulation={times}"]
    made = settings(*given, *lengths)
    examples = data.load(made.data)[0].train
    pairs = 2 * len(examples)
    batches = training_batches(examples, Encoder(byte_tokenizer("<s>"), made.data, 99, 99), size, 0)
    seen: list[Encoded] = [each for _ in range(made.train.steps * times) for each in next(batches)]
    assert len(seen) >= epochs * pairs
    assert len(seen) - size * times < epochs * pairs or made.train.steps == 1
    if epochs == 1:
        assert len({each.ids for each in seen}) == pairs, "each once before any comes twice"
    same = settings(*given, *lengths[1:], f"train.steps={made.train.steps}")
    assert made.run_id() == same.run_id(), "the same run, however it was asked for"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train.steps=5 train.epochs=1", "both say how long to train; give one, and the other =null"),
        ("train.epochs=0", "train.epochs=0: input should be greater than 0"),
        ("train.epochs=-0.5", "train.epochs=-0.5: input should be greater than 0"),
        ("train.epochs=x", "train.epochs=x: input should be a valid number"),
        ("train.epochs=inf", "train.epochs=inf: input should be a finite number"),
        ("train.epochs=1e308", "train.epochs=1e+308: input should be less than or equal to 1000000"),
        ("train.warmup_steps=1.5", "train.warmup_steps=1.5: give a number of steps, or a share"),
        ("train.warmup_steps=-0.5", "train.warmup_steps=-0.5: give a number of steps, or a share"),
        ("train.warmup_steps=60", "train.warmup_steps=60: must be less than train.steps=60"),
        ("train.num_train_epochs=2", "did you mean train.epochs?"),
    ],
)
def test_what_makes_no_length(words: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        settings(*words.split())
    (line,) = refused.value.problems
    assert said in line


def test_three_steps_run_as_they_are(harness: Harness) -> None:
    ran = harness("train.steps=3", "method=lora")
    assert ran.returncode == 0, ran.stderr
