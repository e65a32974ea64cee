"""A sweep that is killed, stopped, out of time, out of disk or run twice at once loses nothing and repeats nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import psutil
import pytest
from safetensors.numpy import load_file

from harness.errors import UserError
from harness.launch import run_once
from harness.launch.worker import Ended, Worker
from harness.places import ROOT
from harness.results.folder import read_record
from harness.results.record import SCHEMA, Record
from tests.support.command_line import LIMIT, Harness, wait_for
from tests.support.records import run_folder
from tests.support.stopped import curve, saved, training

SLOW = (
    *("train.steps=50", "train.checkpoint_every=5", "train.batch_size=4", "train.validation_examples=4"),
    "inference.batch_sizes=[]",
)
"""Training long enough to be caught in the act, and little else."""


def run_process(process: subprocess.Popen[str]) -> psutil.Process:
    """The process in which a run happens: forked by the worker, which the command started."""
    (worker,) = psutil.Process(process.pid).children()
    (run,) = worker.children()
    return run


def losses(results: Path, run: str) -> list[tuple[float, float]]:
    """Step and loss of every line of a curve."""
    return [(line["step"], line["loss"]) for line in curve(results, run)]


def test_a_killed_run_does_not_take_the_sweep_along(harness: Harness) -> None:
    process = harness.start("-m", "seed=0,1", *SLOW)
    victim = wait_for(lambda: training(harness.results), process)
    run_process(process).kill()
    _, err = process.communicate()
    assert process.returncode == 1, err
    assert "Traceback" not in err
    records = harness.records()
    assert sorted(record.status for record in records.values()) == ["error", "ok"]
    assert "SIGKILL" in (records[victim].cause or "")
    assert records[victim].step
    assert records[victim].memory is not None
    assert records[victim].memory.process_peak_rss

    (other,) = records.keys() - {victim}
    assert harness("-m", "seed=0,1", *SLOW).returncode == 0
    again = harness.records()
    assert again[victim].status == "ok"
    assert again[other] == records[other]


def test_a_killed_worker_loses_nothing(harness: Harness) -> None:
    """Its run goes on by itself and is recorded; the next one gets a worker of its own."""
    process = harness.start("-m", "seed=0,1", *SLOW)
    wait_for(lambda: training(harness.results), process)
    run = run_process(process)
    worker = run.parent()
    assert worker is not None
    worker.kill()
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert [record.status for record in harness.records().values()] == ["ok", "ok"]
    assert not run.is_running()


def test_a_killed_sweep_leaves_no_process_and_goes_on_later(harness: Harness) -> None:
    process = harness.start("-m", "seed=0,1", *SLOW)
    wait_for(harness.records, process)
    (first,) = harness.records()
    path = run_folder(harness.results, first) / "record.json"
    content, written = path.read_bytes(), path.stat().st_mtime_ns
    second = wait_for(lambda: training(harness.results, after=10), process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive

    before = saved(harness.results, second)
    assert harness("-m", "seed=0,1", *SLOW).returncode == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, written)
    assert harness.records()[second].status == "ok"
    assert before
    assert curve(harness.results, second)[: len(before)] == before
    assert [step for step, _ in losses(harness.results, second)] == list(range(1, 51))


def test_an_interrupted_run_goes_on_to_the_same_result(
    harness: Harness, run_point: Callable[..., Record], tmp_path: Path
) -> None:
    for number, after in ((signal.SIGTERM, 5), (signal.SIGINT, 25)):
        process = harness.start(*SLOW)
        run = wait_for(lambda after=after: training(harness.results, after), process)
        # As a scheduler and a terminal do: the signal goes to every process of the command.
        main = psutil.Process(process.pid)
        for one in (main, *main.children(recursive=True)):
            one.send_signal(number)
        _, err = process.communicate()
        assert process.returncode == 130, err
        assert "goes on from where it stopped" in err
        assert "Traceback" not in err
        stopped = harness.records()[run]
        assert stopped.status == "interrupted"
        assert stopped.step
        assert after <= stopped.step < 50
        (run_folder(harness.results, run) / "record.json").unlink()

    before = saved(harness.results, run)
    assert len(before) == stopped.step
    assert run_point(*SLOW).step == 50
    assert curve(harness.results, run)[: len(before)] == before
    whole = run_point(*SLOW, f"results={tmp_path / 'whole'}")
    assert whole.id == run
    went_on, at_once = run_folder(harness.results, run), run_folder(tmp_path / "whole", run)
    assert losses(harness.results, run) == losses(tmp_path / "whole", run)
    left, right = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (went_on, at_once))
    assert left.keys() == right.keys()
    assert all((left[name] == right[name]).all() for name in left)
    assert read_record(went_on / "record.json").quality == whole.quality
    assert not (went_on / "checkpoint.pt").exists()


def test_a_run_out_of_time(harness: Harness) -> None:
    result = harness("train.time_limit=0.001")
    assert result.returncode == 1
    (record,) = harness.records().values()
    assert record.status == "timeout"
    assert "train.time_limit" in (record.cause or "")


def test_a_run_that_diverges(run_point: Callable[..., Record]) -> None:
    record = run_point("method.lr=1e30")
    assert record.status == "diverged"
    assert record.step is not None
    assert "loss" in (record.cause or "")


def test_a_truncated_record_is_set_aside_and_its_run_repeated(run_point: Callable[..., Record], tmp_path: Path) -> None:
    first = run_point()
    path = run_folder(tmp_path / "results", first.id) / "record.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    again = run_point()
    assert (again.id, again.status, again.quality) == (first.id, "ok", first.quality)
    assert path.with_name("record.unreadable-1.json").read_bytes() == whole[: len(whole) // 2]


class AnHourAhead(datetime):
    """The clock as it is before it steps back."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) + timedelta(hours=1)


def test_a_clock_that_steps_back_costs_no_record(
    run_point: Callable[..., Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's process, which starts later, writes an earlier time than the process that waits for it has noted."""
    monkeypatch.setattr(run_once, "datetime", AnHourAhead)
    first = run_point()
    assert first.status == "ok", first.cause
    path = run_folder(tmp_path / "results", first.id) / "record.json"
    assert read_record(path) == first

    def killed(*_: object) -> Ended:
        return Ended(-signal.SIGKILL)

    monkeypatch.setattr(Worker, "run", killed)
    again = run_point("force=true")
    assert (again.status, again.id) == ("error", first.id), "the record of before is not this run's"
    assert "SIGKILL" in (again.cause or "")


def test_a_record_of_a_newer_version_is_left_alone(harness: Harness, run_point: Callable[..., Record]) -> None:
    record = run_point()
    path = run_folder(harness.results, record.id) / "record.json"
    path.write_text(json.dumps({"schema_version": SCHEMA + 1, "id": record.id}))
    content = path.read_bytes()
    for many in ([], ["-m"]):
        result = harness(*many)
        assert result.returncode == 2
        assert result.stderr.startswith("error: ")
        assert "upgrade" in result.stderr
        assert path.read_bytes() == content


def test_two_sweeps_at_once_train_each_point_once(harness: Harness) -> None:
    both = [harness.start("-m", "seed=0,1") for _ in range(2)]
    written: dict[Path, int] = {}

    def ended() -> bool:
        for path in harness.results.glob("runs/*/record.json"):
            written.setdefault(path, path.stat().st_mtime_ns)
        return all(process.poll() is not None for process in both)

    wait_for(ended)
    assert [process.returncode for process in both] == [0, 0]
    assert [record.status for record in harness.records().values()] == ["ok", "ok"]
    # A record that a second training had replaced would be younger than when it was first seen.
    assert written == {path: path.stat().st_mtime_ns for path in harness.results.glob("runs/*/record.json")}
    for process in both:
        process.communicate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True)
    if mount.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk(run_point: Callable[..., Record], small_disk: Path) -> None:
    results = f"results={small_disk}"
    first = run_point(results)
    path = run_folder(small_disk, first.id) / "record.json"
    content = path.read_bytes()
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(free))
    with pytest.raises(UserError, match=r"\(No space left on device\); free space"):
        run_point(results, "seed=1")
    assert path.read_bytes() == content
    assert run_point(results) == first
    (small_disk / "filler").unlink()
    assert run_point(results, "seed=1").status == "ok"


# Signals of every kind

STORM = """
import os, signal, subprocess, sys
from harness.launch.server import Stop
stop = Stop()
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda *_: stop.set())
again = "import os; [os.kill(%d, number) for _ in range(20_000) for number in (1, 2, 15)]" % os.getpid()
storm = subprocess.Popen([sys.executable, "-c", again])
while storm.poll() is None:
    sum(range(100))
print(stop.is_set())
"""


def test_a_signal_may_come_within_another() -> None:
    """A run's process is signalled by the terminal and by its sweep, within microseconds."""
    ended = subprocess.run([sys.executable, "-c", STORM], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.stdout == "True\n", ended.stderr


def stopped_by(process: subprocess.Popen[str], *numbers: signal.Signals) -> str:
    """Signal the command's group as a terminal does; what it said until it ended, which may be no traceback."""
    for number in numbers:
        os.killpg(process.pid, number)
        time.sleep(0.03)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert "interrupted; the same command goes on from where it stopped" in err
    return err


@pytest.mark.parametrize("numbers", [[signal.SIGHUP], [signal.SIGINT] * 3, [signal.SIGTERM, signal.SIGUSR2]], ids=str)
def test_whatever_asks_for_an_end_gets_a_checkpoint_and_a_record(
    numbers: list[signal.Signals], harness: Harness
) -> None:
    process = harness.start("-m", "seed=0,1", *SLOW, own_group=True)
    run = wait_for(lambda: training(harness.results, after=7), process)
    said = stopped_by(process, *numbers)
    assert "0 done, 0 failed, 1 interrupted, 1 left" in said
    record = harness.records()[run]
    assert (record.status, record.cause) == ("interrupted", "stopped by a signal; run again to go on")
    assert record.step is not None
    assert record.step >= 7
    before = saved(harness.results, run)
    assert len(before) == record.step
    again = harness("-m", "seed=0,1", *SLOW)
    assert again.returncode == 0, again.stderr
    assert f"lora r=8: goes on from step {record.step} of 50" in again.stderr
    assert curve(harness.results, run)[: len(before)] == before
    assert harness.records()[run].resumed_from == record.step


def test_a_sweep_under_nohup_outlives_its_terminal(harness: Harness) -> None:
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which the command inherits, as from nohup
    try:
        process = harness.start(*SLOW)
    finally:
        signal.signal(signal.SIGHUP, kept)
    wait_for(lambda: training(harness.results), process)
    for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
        one.send_signal(signal.SIGHUP)
    _, err = process.communicate()
    assert process.returncode == 0, err


def test_a_run_of_a_killed_sweep_writes_its_checkpoint(harness: Harness) -> None:
    """And the next one waits until it has."""
    process = harness.start(*SLOW, "train.checkpoint_every=1000")
    run = wait_for(lambda: training(harness.results, after=5), process)
    process.kill()
    process.communicate()
    again = harness(*SLOW, "train.checkpoint_every=1000")
    assert again.returncode == 0, again.stderr
    assert "goes on from step " in again.stderr
    assert (harness.records()[run].resumed_from or 0) >= 5


LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra/launcher=submitit_local"],
}


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Every process that the command has started, told by what it has in its environment."""
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if one.environ().get("HARNESS_COMMAND", "").split()[1:2] == [str(process.pid)]:
                found.append(one)
    return found


@pytest.mark.parametrize(
    ("launcher", "whom"),
    [("joblib", "terminal"), ("joblib", "sweep, killed"), ("submitit_local", "sweep"), ("submitit_local", "jobs")],
)
def test_an_end_by_a_launcher_is_one_too(launcher: str, whom: str, harness: Harness) -> None:
    if importlib.util.find_spec(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher") is None:
        pytest.skip(f"{launcher} is not installed")
    sweep = ("-m", "seed=0,1", *SLOW, "train.checkpoint_every=1000", *LAUNCHERS[launcher])
    process = harness.start(*sweep, own_group=True)
    run = wait_for(lambda: training(harness.results, after=5), process)
    started = family(process)
    assert len(started) >= 4, "two points, each with a worker and a run"
    if whom == "terminal":
        stopped_by(process, signal.SIGINT, signal.SIGINT, signal.SIGINT)
    elif whom == "sweep, killed":
        process.kill()
        process.communicate()
    else:
        points = [p for p in started if not any("harness.launch.server" in part for part in p.cmdline())]
        for one in points if whom == "jobs" else [process]:
            one.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 130, err
    _, alive = psutil.wait_procs(started, timeout=45)
    assert not alive
    assert not list(harness.results.glob(".stop-*"))
    record = harness.records()[run]
    assert record.status == "interrupted"
    assert record.step is not None
    assert record.step >= 5
    assert len(saved(harness.results, run)) == record.step
