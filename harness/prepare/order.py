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


def endless(pairs: int, seed: int, name: str = "") -> Iterator[int]:
    """Indices of all pairs in one random order after another."""
    epoch = 0
    while True:
        order = list(range(pairs))
        random.Random(f"order {seed} {epoch}{name}").shuffle(order)
        yield from order
        epoch += 1


def mixed(groups: Mapping[str, Sequence[int]], weights: Mapping[str, float], seed: int) -> Iterator[int]:
    """Endless draws from groups of indices: the group by weight, within it one random order after another."""
    names = list(groups)
    orders = {name: endless(len(groups[name]), seed, f" {name}") for name in names}
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
    """Endless batches of `size` pairs of example and reference: all pairs in one random order, cut, then in another.

    The order depends on the data and the seed alone, so that every method sees the same batches. Lengths do not decide
    which pairs meet: batches of similar length save padding, but made the loss depend on the seed forty times as much
    (docs/results/batch_order.md). The training step saves padding within a batch.
    """
    pairs = [(example, reference) for example in examples for reference in example.references]
    if not pairs:
        raise UserError("the training split is empty; check the data")
    weights = encoder.source.weights()
    groups = {name: [i for i, (example, _) in enumerate(pairs) if example.task == name] for name in weights}
    if empty := [name for name, group in groups.items() if not group]:
        raise UserError(f"the training split of {empty[0]} is empty; check the data")
    indices = mixed(groups, weights, seed) if weights else endless(len(pairs), seed)
    for batch in batched(indices, size):
        yield [encoder.pair(*pairs[i]) for i in batch]
