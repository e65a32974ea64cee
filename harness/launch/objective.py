"""The number that a point returns to a sweeper of Hydra's own, such as Nevergrad's: `objective=val_loss`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from harness.errors import UserError, nearest
from harness.results.folder import RunFolder, read_record


def objective_of(outcome: dict[str, Any], results: Path, name: str) -> float:
    """The score `name` of the point that ended with `outcome`; of a training that diverged an infinite loss, and no
    number for other scores, since which end is the worst is not known.

    Raises UserError for what the user can put right, KeyboardInterrupt where the point was, RuntimeError where it
    failed, which a sweeper may allow.
    """
    if outcome["problems"]:
        raise UserError(*outcome["problems"])
    if outcome["status"] == "interrupted":
        raise KeyboardInterrupt
    record = read_record(RunFolder.of(results, outcome["id"]).record)
    if record.status == "diverged":
        return math.inf if name == "val_loss" else math.nan
    if record.status != "ok":
        raise RuntimeError(f"{record.label}: {record.status}: {record.cause}")
    scores = {score: value for score, value in record.quality.items() if value is not None}
    if name not in scores:
        raise UserError(f"objective={name}: {record.label} has no such score; {nearest(name, sorted(scores))}")
    return scores[name]
