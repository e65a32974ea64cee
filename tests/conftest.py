"""What the tests of whole runs share: the command line and the runner, on a random two-layer model and little data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from harness import point
from harness.config import CONF, ROOT
from harness.results import Record, read_record

TINY = (
    "model=tiny_random",
    "train.steps=6",
    "eval.test_examples=4",
    "eval.max_new_tokens=8",
    "forgetting.max_tokens=512",
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

    def start(self, *arguments: str, small: tuple[str, ...] = SMALL, **environment: str) -> subprocess.Popen[str]:
        """The running command."""
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *small, f"results={self.results}", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | environment,
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


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own, no network, nothing of the user's W&B, and Ctrl-C as a terminal has it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in the background of a script
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        for name in list(os.environ):
            if name.startswith(("WANDB_", "HARNESS_SWEEP")):
                patch.delenv(name)
        yield


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    """The command line, with results in the test's folder."""
    command = Harness(tmp_path / "results")
    yield command
    for process in command.started:  # what a failed test has left running
        process.kill()


@pytest.fixture(scope="session")
def worker() -> Iterator[None]:
    """The worker that `run_point` starts serves all tests and is ended after them."""
    yield
    point.close()


@pytest.fixture
def run_point(worker: None, tmp_path: Path) -> Callable[..., Record]:
    """The record of a run, made by the runner in processes of its own but without the command line around it."""

    def run(*overrides: str, small: tuple[str, ...] = SMALL) -> Record:
        with initialize_config_dir(str(CONF), version_base=None):
            config = compose("config", [*small, f"results={tmp_path / 'results'}", *overrides])
        return point.run_point(config)

    return run
