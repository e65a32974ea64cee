"""The order of training examples."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.data import Example
from harness.errors import UserError
from harness.prepare.batch import Encoded

if TYPE_CHECKING:
    from harness.prepare.encoding import Encoder


def endless(lengths: Sequence[int], size: int, seed: int, name: str = "") -> Iterator[int]:
    """Indices of all pairs, given their lengths, in one random order after another, in which any `size` that follow one
    another are a spread of lengths: there are `size` classes of like length and number, each is shuffled, and they take
    turns, from one order into the next."""
    pairs, classes = len(lengths), min(size, len(lengths))
    epoch = turn = 0
    while True:
        chance = random.Random(f"order {seed} {epoch}{name}")
        ordered = sorted(chance.sample(range(pairs), pairs), key=lengths.__getitem__)
        share, more = divmod(pairs, classes)
        begin, drawn = 0, []
        for each in range(classes):
            end = begin + share + ((each - turn) % classes < more)  # the classes whose turn comes once more
            drawn.append(chance.sample(ordered[begin:end], end - begin))
            begin = end
        for _ in range(pairs):
            yield drawn[turn].pop()
            turn = (turn + 1) % classes
        epoch += 1


def mixed(
    groups: Mapping[str, Sequence[int]], weights: Mapping[str, float], lengths: Sequence[int], size: int, seed: int
) -> Iterator[int]:
    """Endless draws from groups of indices: the group by weight, within it as of `endless`."""
    names = list(groups)
    orders = {name: endless([lengths[i] for i in groups[name]], size, seed, f" {name}") for name in names}
    chance = random.Random(f"tasks {seed}")
    while True:
        (name,) = chance.choices(names, [weights[name] for name in names])
        yield groups[name][next(orders[name])]


def batched(indices: Iterator[int], size: int) -> Iterator[list[int]]:
    """Endless batches of `size` indices, in their order. An index that would come twice in a batch, where one order
    ends and the next begins, waits for the next batch, unless it waits already (there are fewer than `size`)."""
    waiting: deque[int] = deque()
    while True:
        batch: list[int] = []
        again: list[int] = []
        while len(batch) < size:
            index = waiting.popleft() if waiting else next(indices)
            (again if index in batch and index not in again else batch).append(index)
        waiting.extendleft(reversed(again))
        yield batch


def training_batches(examples: Sequence[Example], encoder: Encoder, size: int, seed: int) -> Iterator[list[Encoded]]:
    """Endless batches of `size` pairs of example and reference: every pair once before any comes twice, and in each
    batch a spread of lengths (docs/results/batch_order.md has what other orders do).

    The order depends on the data, the size and the seed alone, so that every method sees the same batches.
    """
    pairs = [(example, reference) for example in examples for reference in example.references]
    if not pairs:
        raise UserError("the training split is empty; check the data")
    weights = encoder.source.weights()
    groups = {name: [i for i, (example, _) in enumerate(pairs) if example.task == name] for name in weights}
    if empty := [name for name, group in groups.items() if not group]:
        raise UserError(f"the training split of {empty[0]} is empty; check the data")
    lengths = [len(example.source) + len(reference) for example, reference in pairs]
    indices = mixed(groups, weights, lengths, size, seed) if weights else endless(lengths, size, seed)
    for batch in batched(indices, size):
        yield [encoder.pair(*pairs[i]) for i in batch]
