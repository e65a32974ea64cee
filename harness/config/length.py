"""How long a training is: `train.epochs` and a share of warm-up become steps, before the settings are typed."""

from __future__ import annotations

import math
from typing import Any

from harness import data
from harness.data import Source
from harness.errors import UserError
from harness.settings import MOST_EPOCHS

STEPS, WARMUP = 60, 4
"""Where neither steps nor epochs, and no warm-up, are given."""


def with_steps(train: dict[str, Any], source: Any) -> dict[str, Any]:
    """The settings of `train` with a number of steps and of steps of warm-up. `source`: the data, read where epochs are
    given. Values that are none of what may be given stay, to be refused by their type. Raises UserError."""
    steps, epochs = train.get("steps"), train.get("epochs")
    if steps is not None and epochs is not None:
        raise UserError(
            f"train.steps={steps}, train.epochs={epochs}: both say how long to train; give one, and the other =null"
        )
    if isinstance(epochs, int | float) and not isinstance(epochs, bool) and 0 < epochs <= MOST_EPOCHS:
        steps = _steps(float(epochs), train, source)
    elif steps is None:
        steps = STEPS  # also where epochs are refused, so that it is them alone
    return train | {"steps": steps, "warmup_steps": _warmup(train.get("warmup_steps"), steps)}


def _steps(epochs: float, train: dict[str, Any], source: Any) -> int | None:
    """Steps in which every pair of example and reference is seen `epochs` times; None where that cannot be told, which
    other problems are the reason of."""
    size, times = train.get("batch_size"), train.get("accumulation")
    if not (isinstance(source, Source) and isinstance(size, int) and isinstance(times, int) and size * times > 0):
        return None
    pairs = sum(len(example.references) for example in data.load(source)[0].train)
    return max(1, math.ceil(round(epochs * pairs / (size * times), 6)))


def _warmup(given: Any, steps: Any) -> Any:
    """A number of steps: as given, that share of all, or, where nothing is given, few enough for a short training."""
    if isinstance(given, float) and not 0 < given < 1:
        raise UserError(f"train.warmup_steps={given:g}: give a number of steps, or a share of them above 0 and below 1")
    if not isinstance(steps, int):
        return WARMUP if given is None else given
    if given is None:
        return max(0, min(WARMUP, steps - 1))
    return round(given * steps) if isinstance(given, float) and 0 < given < 1 else given
