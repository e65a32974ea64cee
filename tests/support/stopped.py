"""What a run that is stopped while it trains has done, and left."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from harness.places import CONF
from tests.support.command_line import SMALL
from tests.support.records import run_folder

SMALL_BUT_STEPS = tuple(word for word in SMALL if not word.startswith("train.steps"))

SWEEP = """\
question: What is lost?
overrides: [method=mine, "inference.batch_sizes=[]", train.checkpoint_every={every}]
grids:
  - [train.steps=3]
  - ["train.steps={steps}", "seed=0,1"]
"""


def own_sweep(folder: Path, steps: int, every: int) -> tuple[str, ...]:
    """The words for a sweep of a short run and two long ones, of a method of one's own in the folder, of which the
    processes on other machines must be told."""
    for each in ("sweeps", "method"):
        (folder / each).mkdir(parents=True)
    (folder / "sweeps" / "lost.yaml").write_text(SWEEP.format(steps=steps, every=every))
    lora = (CONF / "method" / "lora.yaml").read_text()
    mine = lora.replace("harness.methods.lora.Lora", "harness.methods.mine.Mine").replace("name: lora", "name: mine")
    (folder / "method" / "mine.yaml").write_text(mine)
    code = "from harness.methods.lora import Lora\n\n\nclass Mine(Lora):\n    pass\n"
    (folder / "method" / "mine.py").write_text(code)
    return ("+sweep=lost", "--config-dir", str(folder))


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
