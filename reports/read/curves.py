"""How long and how much text training took to come down to a loss, from the lines of a curve."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Reached:
    """Where training stood when it was first seen at a loss."""

    step: int
    tokens: int
    """Of prompts and completions trained on until then, padding not counted."""
    seconds: float
    """Of the steps until then; validation, checkpoints and the making of batches are not counted."""


def curve_lines(path: Path, *needed: str) -> list[dict[str, Any]]:
    """The lines of curve.jsonl that have a step and what else is needed, none where it cannot be read; one that is cut
    off, as the last of a killed run, is left out."""
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    lines = []
    for text in texts:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and {"step", *needed} <= line.keys():
            lines.append(line)
    return lines


def losses_by_step(path: Path, name: str) -> dict[int, float]:
    """Step -> training (`loss`) or validation loss (`val_loss`), of lines whose loss is a finite number."""
    losses = {}
    for line in curve_lines(path, name):
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            if math.isfinite(loss := float(line[name])):
                losses[int(line["step"])] = loss
    return losses


def reach(curve: Sequence[dict[str, Any]], loss: float) -> Reached | None:
    """The first validated step whose validation loss is at or below `loss`; None where there is none."""
    tokens, seconds = 0, 0.0
    for line in curve:
        tokens += int(line["tokens"])
        seconds += line["seconds"]
        if line.get("val_loss", math.inf) <= loss:
            return Reached(int(line["step"]), tokens, seconds)
    return None


def why_not(curve: Sequence[dict[str, Any]]) -> str:
    """Why a loss was not reached."""
    losses = [line["val_loss"] for line in curve if "val_loss" in line]
    return (
        f"not reached; lowest validation loss {min(losses):.3f}" if losses else "no curve.jsonl with validation losses"
    )
