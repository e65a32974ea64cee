"""A trainer of a tiny model, and what its tests look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.training.trainer import State, Trainer, TrainingData
from tests.support.tiny import Adapted


def trainer(a: Adapted, folder: Path, **changes: Any) -> Trainer:
    train = a.settings.train.model_copy(update=changes)
    batches = a.task.batches(train.batch_size, a.settings.seed)
    data = TrainingData(batches, a.task.pad, a.task.validation)
    best, place = a.settings.eval.score == "best", folder / "checkpoint.pt"
    return Trainer(a.forward, a.settings.method, train, data, place, keep_best=best)


def losses(state: State) -> list[float]:
    return [line["loss"] for line in state.curve]


def never() -> None:
    return None


def quiet(_: dict[str, float]) -> None: ...
