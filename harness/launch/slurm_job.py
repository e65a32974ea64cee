"""A job of Slurm whose run was interrupted: whether Slurm runs it again, so that the sweep has to wait for it.

Slurm sends SIGTERM to a job that is cancelled, preempted or put back into the queue, and submitit has it send SIGUSR2
some time before the time limit; which one it was, and what follows, only Slurm knows.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from harness.errors import first_line


def end_if_it_runs_again(requeue: Any) -> None:
    """End this process, without an answer to the sweep, where Slurm will run its job again. One that Slurm still counts
    as running (a preempted one in its time of grace, or its time is nearly up) is put back into the queue by `requeue`,
    submitit's handler of signals, which counts how often that is allowed (`hydra.launcher.max_num_timeout`).

    Returns where the job is over: it was cancelled, or may not run again.
    """
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
    shown = subprocess.run(["scontrol", "show", "job", "--oneliner", job], capture_output=True, text=True, check=False)
    state = dict(word.partition("=")[::2] for word in shown.stdout.split())
    if int(state.get("Restarts", 0)) > int(os.environ.get("SLURM_RESTART_COUNT", 0)):
        sys.exit(1)
    if state.get("JobState") == "RUNNING" and callable(requeue):
        try:
            requeue(signal.SIGUSR2, None)
        except Exception as error:  # submitit's "not requeued because", or a Slurm that refuses
            print(f"job {job} is over: {first_line(error)}", file=sys.stderr)
