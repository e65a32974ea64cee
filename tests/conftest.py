"""What the tests of whole runs share: the command line and the runner, on a random two-layer model and little data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from harness.launch import run_once
from harness.places import CONF
from harness.results.record import Record
from tests.support.command_line import SMALL, Harness
from tests.support.slurm import MISSING, Slurm, running

LONG = (
    *("interruption", "flattery", "rounds", "gate_planted", "tuning", "kinds", "contract", "tracking", "lost_work"),
    *("sequence", "wheel", "python", "launchers", "slurm", "cluster", "ray_cluster", "lm_eval", "trackers", "wandb"),
    *("hub_server", "gpus", "folders", "tasks", "own_folder", "objective", "oom", "hub", "merge_audit", "models"),
    *("after_training", "docs", "sweeper", "forecast", "planner", "metamathqa", "precisions"),
    *("roles", "inference", "page"),
)
"""Files of tests that take minutes. They begin first, since a file stays on one core: the last ones are short."""

ALONE = "HARNESS_TEST_ALONE"
"""Set in the process of a test that has one to itself."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first; those of a file stay together, in their order."""
    rank = {f"test_{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test marked `own_process` runs in a new one: its bounds are those of a process whose heaps nothing else
    has used."""
    if pyfuncitem.get_closest_marker("own_process") is None or ALONE in os.environ:
        return None
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", pyfuncitem.nodeid]
    done = subprocess.run(
        command, cwd=pyfuncitem.config.rootpath, env={**os.environ, ALONE: "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return True


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own, no network, nothing of the user's W&B, and Ctrl-C as a terminal has it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in the background of a script
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(cache_of(tmp_path_factory)))
        patch.setenv("HF_HUB_OFFLINE", "1")
        for name in list(os.environ):
            if name.startswith(("WANDB_", "HARNESS_SWEEP")):
                patch.delenv(name)
        yield


def cache_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that all workers of pytest-xdist share, as sweeps at once do: what one has converted, planned or
    measured of a base, no other one does again. A worker's folder lies in that of the whole session."""
    own = tmp_path_factory.getbasetemp()
    cache = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache"
    for part in ("plans", "sources"):  # of what is there already, the gate's own caches have a part
        (cache / part).mkdir(parents=True, exist_ok=True)
    return cache


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    """The command line, with results in the test's folder."""
    command = Harness(tmp_path / "results")
    yield command
    for process in command.started:  # what a failed test has left running
        process.kill()


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A Slurm of one node, where its programs are installed."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs peft-harness[cluster]")
    if MISSING:
        pytest.skip(f"there is no {', no '.join(MISSING)}: install Slurm and munge")
    with running() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def worker() -> Iterator[None]:
    """The worker that `run_point` starts serves all tests and is ended after them."""
    yield
    run_once.close()


@pytest.fixture
def run_point(worker: None, tmp_path: Path) -> Callable[..., Record]:
    """The record of a run, made by the runner in processes of its own but without the command line around it."""

    def run(*overrides: str, small: tuple[str, ...] = SMALL) -> Record:
        with initialize_config_dir(str(CONF), version_base=None):
            config = compose("config", [*small, f"results={tmp_path / 'results'}", *overrides])
        return run_once.run_point(config)

    return run
