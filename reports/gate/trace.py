"""What a run did, step by step and answer by answer, short enough for a file that people read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from reports.read.run import Run
from reports.read.runs import UnusablePredictions, finite, predictions, training_losses

MOST = 64
"""Steps whose losses are kept. A step that goes another way moves all that come after it, so few are enough."""


@dataclass(frozen=True)
class Trace:
    """Of one run; nothing of what it lacks."""

    steps: tuple[int, ...] = ()
    losses: tuple[float, ...] = ()
    """Of these steps, at full precision."""
    predictions: str = ""
    """First digits of the hash of the answers in the order of their indices."""


def trace(run: Run) -> Trace:
    """What a finished run left in its folder."""
    curve = [(step, loss) for step, loss in training_losses(run) if finite(loss) is not None]
    last = len(curve) - 1
    points = [curve[i] for i in sorted({round(n * last / (MOST - 1)) for n in range(MOST)})] if curve else []
    try:
        text = json.dumps(list(predictions(run).items()))
    except UnusablePredictions:
        text = ""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""
    return Trace(tuple(step for step, _ in points), tuple(loss for _, loss in points), digest)


def alike(runs: Sequence[Run]) -> bool | None:
    """Whether the repeats of a run did the same to the bit; None for one."""
    did = {(trace(run), finite(run.record.quality.get("val_loss")) if run.record else None) for run in runs}
    return None if len(runs) < 2 else len(did) == 1
