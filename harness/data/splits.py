"""From tables or texts to splits: which rows belong to which, disjoint by input."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from harness.data import Example, Splits
from harness.errors import UserError
from harness.results.scored import scored
from harness.settings import Settings

SPLITS = ("train", "validation", "test")


class Names(Settings):
    """Where the rows of each split come from: a file's name, or a split's name on the hub. Splits that name the same
    share its rows. Without train and validation there is only a test."""

    train: str | None
    validation: str | None
    test: str

    @model_validator(mode="after")
    def _both_or_neither(self) -> Names:
        if (self.train is None) != (self.validation is None):
            raise ValueError("names one of train and validation; name both, or neither for a task that is only scored")
        return self

    @property
    def splits(self) -> list[str]:
        """The splits that there are."""
        return [split for split in SPLITS if getattr(self, split) is not None]

    def distinct(self) -> list[str]:
        """Each name once."""
        return list(dict.fromkeys(getattr(self, split) for split in self.splits))


class Shares(Settings):
    """In which proportion splits share rows that come from the same place."""

    train: Annotated[float, Field(gt=0)]
    validation: Annotated[float, Field(gt=0)]
    test: Annotated[float, Field(gt=0)]


def places(path: str, files: Names) -> tuple[Path, Names]:
    """The folder that a task's files are in, and their names; where `path` is one file, all splits share it."""
    if not os.path.isfile(path):
        return Path(path), files
    name = Path(path).name
    return Path(path).parent, files.model_copy(update=dict.fromkeys(files.splits, name))


def division(path: str | None, shares: Shares, seed: int) -> dict[str, Any]:
    """How one file was divided between the splits, for the record; empty where there are several."""
    one = path is not None and os.path.isfile(path)
    return {"divided": shares.model_dump() | {"seed": seed}} if one else {}


def splits_of(
    places: Mapping[str, Sequence[tuple[str, Example]]], names: Names, shares: Shares, seed: int, key: str
) -> Splits:
    """The splits of examples, each with what its input is known by, from each place in `names`.

    Where splits share a place, `seed` draws which inputs are whose. An input of the test split is taken out of the
    other two, one of validation out of training: it must not be trained on, nor decide which step is scored. `key`: the
    setting that names the places. Raises UserError where a split is left without examples.
    """
    pairs_of: dict[str, list[tuple[str, Example]]] = {}
    for name, pairs in places.items():
        sharing = [split for split in SPLITS if getattr(names, split) == name]
        for split, inputs in divided(name, [identity for identity, _ in pairs], sharing, shares, seed).items():
            pairs_of[split] = [pair for pair in pairs if pair[0] in inputs]
    taken: set[str] = set()
    splits: dict[str, tuple[Example, ...]] = dict.fromkeys(SPLITS, ())
    for split in reversed(names.splits):
        splits[split] = tuple(example for identity, example in pairs_of[split] if identity not in taken)
        if not splits[split]:
            raise UserError(f"{key}: every input of {split} is one of a later split too; name another place for it")
        taken |= {identity for identity, _ in pairs_of[split]}
    return Splits(**splits)


def divided(name: str, inputs: Sequence[str], sharing: Sequence[str], shares: Shares, seed: int) -> dict[str, set[str]]:
    """By split, which inputs of one place are its: all of them, or a share drawn by `seed`, never none."""
    distinct = list(dict.fromkeys(inputs))
    if len(sharing) == 1:
        return {sharing[0]: set(distinct)}
    if len(distinct) < len(sharing):
        raise UserError(f"{name}: {len(distinct)} inputs are too few for {', '.join(sharing)}; give more rows")
    random.Random(f"split {seed}").shuffle(distinct)
    weights = [getattr(shares, split) for split in sharing]
    inputs_of, start = {}, 0
    for i, split in enumerate(sharing):
        end = round(len(distinct) * sum(weights[: i + 1]) / sum(weights))
        end = min(max(end, start + 1), len(distinct) - (len(sharing) - i - 1))
        inputs_of[split] = set(distinct[start:end])
        start = end
    return inputs_of


def by_task(examples: Sequence[Example], count: int | None) -> list[Example]:
    """`count` examples of each task of a mixture, as they are `scored`, in the order of the file; all for None."""
    tasks: dict[str, list[Example]] = {}
    for example in examples:
        tasks.setdefault(example.task, []).append(example)
    return [alike[i] for alike in tasks.values() for i in scored(len(alike), count)]
