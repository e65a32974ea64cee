"""What the screen says of a sweep: runs of one label by what they differ in, and a look from another terminal."""

from __future__ import annotations

import subprocess
import sys

from harness.launch.live_view import SweepRun, named_apart, time_left
from tests.support.command_line import Harness, wait_for


def test_runs_of_one_label_are_told_apart() -> None:
    rows = {"a": "method=lora seed=0 method.lr=0.1", "b": "method=lora seed=1 method.lr=0.1", "c": "method=ia3 seed=0"}
    points = [SweepRun(run, "ia3" if run == "c" else "lora r=8", words, False) for run, words in rows.items()]
    assert [point.label for point in named_apart(points)] == ["lora r=8, seed 0", "lora r=8, seed 1", "ia3"]
    assert [point.run for point in named_apart(points)] == ["a", "b", "c"]
    same = [SweepRun(run, "x", "method=x", False) for run in "ab"]
    assert named_apart(same) == same


def test_the_time_left_falls_while_a_run_goes_on() -> None:
    """Two runs took 10 s each, and three are left."""
    assert [time_left(20, 2, 3, since) for since in (0, 4, 30)] == [30, 26, 0]


def test_a_sweep_is_watched_from_another_terminal(harness: Harness) -> None:
    running = harness.start("-m", "method=lora", "seed=0,1", "hydra.sweeper.name=s", "train.steps=40")
    wait_for(lambda: list(harness.results.glob("sweeps/*.json")), running)
    words = [sys.executable, "-m", "harness", "watch", "s", "--results", str(harness.results)]
    seen = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    _, said = running.communicate(timeout=300)
    assert running.returncode == 0, said
    for text in (said, seen.stderr):
        assert "lora r=8, seed 0: ok" in text
        assert "lora r=8, seed 1: ok" in text
    assert seen.stdout.startswith("sweep s: 2 points, 0 done")
    assert "2 done, 0 failed, 0 left" in seen.stderr
    again = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert again.stdout == "sweep s: 2 points, 2 done\n"
    gone = subprocess.run([*words[:4], "t", *words[5:]], capture_output=True, text=True, timeout=60, check=False)
    assert gone.returncode == 2
    assert "no such sweep; there are: s" in gone.stderr
