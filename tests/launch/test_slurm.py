"""Sweeps on a Slurm of one node: what it preempts, requeues, cancels or tells that time is up goes on, and nothing
that is done is trained again."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.results.record import Record
from tests.support.command_line import LIMIT, Harness, wait_for
from tests.support.records import run_folder
from tests.support.slurm import Slurm
from tests.support.stopped import SMALL_BUT_STEPS, curve, own_sweep, saved

LAUNCHER = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=low", "hydra.launcher.cpus_per_task=1")
STEPS = 150


def stopped_in_training(harness: Harness, slurm: Slurm, jobs: Sequence[str], process: subprocess.Popen[str]) -> None:
    """Wait until the run of each of these jobs, which have the seeds 0, 1, … in turn, trains, and
    stop its job's processes there, so that nothing hangs on how fast a machine is."""
    for seed, job in enumerate(jobs):

        def trains(seed: int = seed) -> bool:
            for path in harness.results.glob("runs/*/progress.json"):
                state, config = (json.loads(each.read_text()) for each in (path, path.with_name("config.json")))
                if (config["seed"], config["train"]["steps"]) == (seed, STEPS) and state["phase"] == "train":
                    return True
            return False

        wait_for(trains, process)
        slurm("scancel", "--signal=STOP", job)


def with_status(harness: Harness, status: str) -> dict[str, Record]:
    return {run: record for run, record in harness.records().items() if record.status == status}


def test_a_preempted_and_a_warned_job_go_on(harness: Harness, slurm: Slurm, tmp_path: Path) -> None:
    sweep = own_sweep(tmp_path / "own", STEPS, every=1000)  # only a signal can bring them to a checkpoint
    process = harness.start(*sweep, *LAUNCHER, small=SMALL_BUT_STEPS, **slurm.environment)
    jobs = wait_for(lambda: len(now := slurm.running()) == 3 and now, process)[1:]
    stopped_in_training(harness, slurm, jobs, process)
    (short,) = wait_for(lambda: with_status(harness, "ok"), process)
    path = run_folder(harness.results, short) / "record.json"
    content, written = path.read_bytes(), path.stat().st_mtime_ns
    wait_for(lambda: slurm.running() == jobs, process)

    slurm("sbatch", "--partition=high", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 1")
    preempted = wait_for(lambda: with_status(harness, "interrupted"), process)
    left = {run: saved(harness.results, run) for run in preempted}
    (warned,) = slurm.running()
    for name in ("USR2", "CONT"):
        slurm("scancel", f"--signal={name}", warned)
    both = wait_for(lambda: len(now := with_status(harness, "interrupted")) == 2 and now, process)
    left |= {run: saved(harness.results, run) for run in both.keys() - preempted.keys()}

    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    assert [slurm.restarts(job) for job in jobs] == [1, 1]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, written)
    assert len(left) == 2
    for run, before in left.items():
        record = harness.records()[run]
        assert (record.status, record.resumed_from) == ("ok", both[run].step)
        assert 0 < len(before) == both[run].step
        assert curve(harness.results, run)[: len(before)] == before
        assert len(curve(harness.results, run)) == STEPS
    assert err.count(": ok (") == 3
    assert err.count(": interrupted: ") == 2


def test_a_cancelled_job_and_one_out_of_time_end_the_sweep_and_the_same_command_goes_on(
    harness: Harness, slurm: Slurm
) -> None:
    """Submitit takes its notice of a job of so few minutes for its end, and by default has no such job run again."""
    sweep = ("-m", "seed=0,1", f"train.steps={STEPS}", "train.checkpoint_every=1000", *LAUNCHER)
    process = harness.start(*sweep, "hydra.launcher.timeout_min=9", **slurm.environment)
    cancelled, late = wait_for(lambda: len(now := slurm.running()) == 2 and now, process)
    stopped_in_training(harness, slurm, [cancelled, late], process)
    slurm("scancel", "--signal=USR2", late)
    slurm("scancel", "--signal=CONT", late)
    slurm("scancel", cancelled)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, err
    assert "interrupted; the same command goes on from where it stopped" in err
    assert "Traceback" not in err
    stopped = with_status(harness, "interrupted")
    assert len(stopped) == 2
    wait_for(lambda: not slurm("squeue", "--noheader"))

    again = harness.start(*sweep, **slurm.environment)
    wait_for(lambda: len(slurm.running()) == 2, again)
    again.send_signal(signal.SIGINT)
    _, err = again.communicate(timeout=LIMIT)
    assert again.returncode == 130, err
    assert "its jobs go on" in err
    assert len(slurm.running()) == 2
    last = harness(*sweep, **slurm.environment)
    assert last.returncode == 0, last.stderr
    resumed = {run: record.resumed_from for run, record in with_status(harness, "ok").items()}
    assert resumed == {run: record.step for run, record in stopped.items()}
