"""The command line as its users run it, on a random two-layer model and little data."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.places import ROOT
from harness.results.folder import read_record
from harness.results.record import Record

TINY = (
    "model=tiny_random",
    "train.steps=6",
    "eval.test_examples=4",
    "eval.max_new_tokens=8",
    "forgetting.max_tokens=512",
    "inference.batch_sizes=[1]",
    "inference.repeats=3",
    "tracker=none",
    f"threads={os.environ.get('TEST_THREADS', '1')}",
)
SMALL = (*TINY, "data.size=100")
"""Overrides that make a run a matter of seconds."""

needs_java = pytest.mark.skipif(
    shutil.which("java") is None and not os.environ.get("CI"), reason="METEOR needs Java, and there is none"
)

LIMIT = 300
"""Seconds that a run of the command line may take, and anything that is waited for."""


class Harness:
    """`python -m harness` with its results in a folder of its own."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self, *arguments: str, small: tuple[str, ...] = SMALL, own_group: bool = False, **environment: str
    ) -> subprocess.Popen[str]:
        """The running command. `own_group`: in a process group of its own, which can be signalled as a whole."""
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *small, f"results={self.results}", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | environment,
            start_new_session=own_group,
        )
        self.started.append(process)
        return process

    def __call__(
        self, *arguments: str, small: tuple[str, ...] = SMALL, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """The ended command."""
        process = self.start(*arguments, small=small, **environment)
        try:
            out, err = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"not done in {LIMIT} s: {arguments}\n{out}\n{err}")
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def records(self) -> dict[str, Record]:
        """Every record by its id."""
        return {path.parent.name: read_record(path) for path in sorted(self.results.glob("runs/*/record.json"))}


def wait_for(what: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> Any:
    """The first true value of `what()`; a failure as soon as `process`, which should bring it, has ended without it."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        ended = process is not None and process.poll() is not None
        if found := what():
            return found
        if ended:
            assert process is not None
            pytest.fail(f"the command ended with {process.returncode}: {process.communicate()}")
        time.sleep(0.05)
    pytest.fail(f"nothing came within {LIMIT} s")
