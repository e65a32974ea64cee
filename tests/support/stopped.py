"""What a run that is stopped while it trains has done, and left."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tests.support.records import run_folder


def training(results: Path, after: int = 1) -> str | None:
    """The id of the run that is training now and has done so many steps."""
    for path in results.glob("runs/*/progress.json"):
        state = json.loads(path.read_text())
        ended = (path.parent / "record.json").exists()
        if state["phase"] == "train" and state.get("step", 0) >= after and not ended:
            return path.parent.name
    return None


def curve(results: Path, run: str) -> list[dict[str, float]]:
    """Every line of a curve."""
    return [json.loads(line) for line in (run_folder(results, run) / "curve.jsonl").read_text().splitlines()]


def saved(results: Path, run: str) -> list[dict[str, float]]:
    """The curve in a run's checkpoint. Its lines hold each step's seconds, which no other training has."""
    content = torch.load(run_folder(results, run) / "checkpoint.pt", weights_only=True)
    return list(content["state"]["curve"])
