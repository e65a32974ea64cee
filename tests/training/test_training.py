"""Training: what is counted in the loss, in which order, and that a repeat or a continuation gives the same bits."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections import Counter
from pathlib import Path

import pytest
import torch

from harness.errors import RunEnded
from harness.prepare.batch import Encoded, by_length, collate
from harness.prepare.order import batched, endless, mixed
from harness.training.optimizer import trainable
from tests.support.tiny import adapted
from tests.support.trainers import losses, never, quiet, trainer


@pytest.mark.parametrize("overrides", [["method=lora", "method.dropout=0.1"], ["method=full"]])
def test_same_seed_same_bits_and_a_continued_run_too(overrides: list[str], tmp_path: Path) -> None:
    whole = adapted(overrides)
    first = trainer(whole, tmp_path / "a").run(never, quiet)
    again = trainer(adapted(overrides), tmp_path / "b", validate_every=3).run(never, quiet)
    assert losses(first) == losses(again)

    (tmp_path / "c").mkdir()
    stopped = trainer(adapted(overrides), tmp_path / "c")

    def after_five() -> RunEnded | None:
        return RunEnded("interrupted", "test") if stopped.state.step == 5 else None

    with pytest.raises(RunEnded) as end:
        stopped.run(after_five, quiet)
    assert end.value.step == 5
    other = adapted(overrides)
    going_on = trainer(other, tmp_path / "c")
    assert going_on.resume() is None
    assert going_on.state.step == 5
    continued = going_on.run(never, quiet)
    assert losses(continued) == losses(first)
    assert all(
        torch.equal(p, q) for p, q in zip(trainable(whole.model).values(), trainable(other.model).values(), strict=True)
    )
    changed = adapted([*overrides, "seed=1"])
    assert losses(trainer(changed, tmp_path / "d").run(never, quiet)) != losses(first)


def test_accumulation_equals_one_large_batch(tmp_path: Path) -> None:
    """Gradients of two halves, each label weighing the same, are the gradient of the whole."""
    a, b = adapted(["method=lora"]), adapted(["method=lora"])
    examples = [e for batch in itertools.islice(a.task.batches(4, 0), 2) for e in batch]
    whole, halves = trainer(a, tmp_path), trainer(b, tmp_path)
    one = whole._step([collate(examples, a.task.pad)])
    two = halves._step([collate(examples[:4], a.task.pad), collate(examples[4:], a.task.pad)])
    assert one["loss"] == pytest.approx(two["loss"], rel=1e-6)
    assert one["grad_norm"] == pytest.approx(two["grad_norm"], rel=1e-5)


def test_parts_by_length_lose_nothing_and_cost_least() -> None:
    """The witness tries every way to cut the sorted batch."""
    lengths = [40, 300, 41, 160, 42, 150, 200, 9]
    examples = [Encoded(tuple(range(n)), 1) for n in lengths]
    parts = by_length(examples, 48)
    assert sorted(e.ids for part in parts for e in part) == sorted(e.ids for e in examples)
    ordered = sorted(lengths)

    def cost(pieces: list[list[int]]) -> int:
        return sum(len(piece) * max(piece) + 48 for piece in pieces)

    cuts = [c for n in range(len(ordered)) for c in itertools.combinations(range(1, len(ordered)), n)]
    ways = [[ordered[i:j] for i, j in itertools.pairwise([0, *c, len(ordered)])] for c in cuts]
    assert cost([[len(e.ids) for e in part] for part in parts]) == min(map(cost, ways))
    assert by_length(examples, None) == [examples]


def test_a_batch_in_parts_has_the_loss_of_the_whole() -> None:
    a = adapted(["method=lora"])
    examples = next(a.task.batches(8, 0))
    examples[0] = Encoded(examples[0].ids + examples[1].ids, examples[0].scored_from)
    parts = by_length(examples, 48)
    assert len(parts) > 1
    whole = a.forward.loss_sum(collate(examples, a.task.pad)).item()
    assert sum(a.forward.loss_sum(collate(part, a.task.pad)).item() for part in parts) == pytest.approx(whole)


def test_diverges_as_diverged(tmp_path: Path) -> None:
    a = adapted(["method=full"])
    next(iter(trainable(a.model).values())).data.fill_(math.inf)
    with pytest.raises(RunEnded) as end:
        trainer(a, tmp_path).run(never, quiet)
    assert end.value.status == "diverged"


def test_best_step_is_scored(tmp_path: Path) -> None:
    """A learning rate far too high makes a later step worse; the weights that remain are those of the best one."""
    a = adapted(["method=full", "method.lr=0.3", "eval.score=best", "train.validate_every=1"])
    state = trainer(a, tmp_path).run(never, quiet)
    validated = {line["step"]: line["val_loss"] for line in state.curve}
    assert state.best_step == min(validated, key=validated.__getitem__)
    assert a.forward.mean_loss(a.task.validation) == pytest.approx(min(validated.values()), abs=1e-6)


def test_schedule_warms_up_and_decays(tmp_path: Path) -> None:
    a = adapted(["method=lora", "method.lr=0.008"])
    rates = [line["lr"] for line in trainer(a, tmp_path).run(never, quiet).curve]
    # Linear: 2 steps up to the peak, then 6 down to zero, which the ninth step would reach.
    expected = [0, 0.004, *(0.008 * (8 - step) / 6 for step in range(2, 8))]
    assert rates == pytest.approx(expected)


def test_batches_depend_on_the_seed_alone() -> None:
    a = adapted(["method=zero_shot"])
    first = list(itertools.islice(a.task.batches(4, 0), 32))
    assert first == list(itertools.islice(a.task.batches(4, 0), 32))
    assert first != list(itertools.islice(a.task.batches(4, 1), 32))


def test_a_batch_has_one_pair_of_each_class_of_length() -> None:
    """Sorted by length, its i-th pair is of the i-th eighth of all pairs; where an eighth begins shifts by one."""
    lengths = random.Random(0).sample(range(1000), 203)
    ranks = {length: rank for rank, length in enumerate(sorted(lengths))}
    for batch in itertools.islice(batched(endless(lengths, 8, 0), 8), 300):
        for number, length in enumerate(sorted(lengths[i] for i in batch)):
            assert 203 * number / 8 - 2 <= ranks[length] <= 203 * (number + 1) / 8 + 1


def test_which_pairs_meet_is_random_but_for_their_lengths() -> None:
    """Of 40 pairs two of other classes share one of an epoch's five batches as often as chance has it."""
    lengths = list(range(40))
    met = Counter(
        pair
        for seed in range(200)
        for batch in itertools.islice(batched(endless(lengths, 8, seed), 8), 5)
        for pair in itertools.combinations(sorted(batch), 2)
    )
    apart = [met[one, other] for one, other in itertools.combinations(range(40), 2) if one // 5 != other // 5]
    # 200 epochs, in each with a chance of a fifth: 40, with a standard deviation of 5.7; 700 pairs are drawn.
    assert statistics.fmean(apart) == pytest.approx(40)
    assert statistics.stdev(apart) == pytest.approx(5.66, rel=0.1)
    assert max(apart) < 40 + 4.5 * 5.66


@pytest.mark.parametrize("pairs", [1, 5, 8, 9, 16, 57, 100])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_every_pair_comes_once_before_any_comes_twice(pairs: int, size: int) -> None:
    seen = Counter(dict.fromkeys(range(pairs), 0))
    lengths = [random.Random(pairs).randrange(9, 99) for _ in range(pairs)]
    for batch in itertools.islice(batched(endless(lengths, size, 0), size), 120):
        assert len(batch) == size
        assert len(set(batch)) == min(size, pairs)
        seen.update(batch)
        assert max(seen.values()) - min(seen.values()) <= 1


def test_tasks_keep_their_weights_where_one_is_small() -> None:
    groups = {"small": [0, 1], "large": list(range(2, 40))}
    batches = batched(mixed(groups, {"small": 3, "large": 1}, list(range(40)), 8, 0), 8)
    drawn = [i for batch in itertools.islice(batches, 500) for i in batch]
    assert sum(i < 2 for i in drawn) / len(drawn) == pytest.approx(0.75, abs=0.03)


def test_prompt_and_padding_are_not_scored() -> None:
    a = adapted(["method=zero_shot"])
    example = a.task.train[0]
    pair = a.task.encoder.pair(example, example.references[0])
    batch = collate([pair], a.task.pad)
    text = a.tokenizer.decode(batch.targets.tolist())
    assert text.replace("<end>", "").strip() == example.references[0]
    assert batch.targets[-1] == a.tokenizer.eos_token_id
    assert int(batch.predict.sum()) == len(batch.targets)
