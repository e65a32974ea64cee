"""docs/cluster.md from an installed wheel: an array of jobs, a job of one's own, what two machines made."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.places import ROOT
from tests.support.command_line import wait_for
from tests.support.installed import FAST, lines, run, words_of
from tests.support.slurm import Slurm

SMALL = (*FAST, "inference.batch_sizes=[]")
ONE = ("hydra.launcher.cpus_per_task=1", "hydra.launcher.setup=['echo $SRUN_CPUS_PER_TASK $SLURM_CPU_BIND > told']")
"""The node has few processors; the line that goes before `srun` in a job notes what that is told of them."""


def small(line: str) -> str:
    """A line of the page with a sweep of two rows."""
    assert "methods" in line
    return line.replace("methods", "tiny")


def script() -> str:
    """The page's script for `sbatch`."""
    found = re.findall(r"^```\n(#!/bin/bash\n.*?)^```", (ROOT / "docs/cluster.md").read_text(), re.M | re.S)
    (text,) = found
    return small(text).replace("+sweep=tiny", f"+sweep=tiny {' '.join(SMALL)} seed=1 results=machine_b")


def test_ray_may_be_asked_for_in_all_these_ways(said: Callable[..., str], tmp_path: Path) -> None:
    for line in lines("cluster.md", "peft-harness +sweep=methods hydra/launcher=ray"):
        assert "0 of 2 done" in said(small(line), *SMALL, "--dry-run")


def test_two_machines(
    said: Callable[..., str], installed: Path, slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(installed), os.environ["PATH"]]))
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)

    (array,) = lines("cluster.md", "peft-harness +sweep=methods threads=8 hydra/launcher=submitit_slurm")
    within = ("srun", "--cpu-bind=none")  # an interactive job, on a node of the kind
    run(*within, *words_of(small(array)), *SMALL, *ONE, "results=machine_a", cwd=tmp_path)
    assert (tmp_path / "told").read_text() == "1\n"
    table = said("peft-harness-reports tiny --results machine_a")
    assert "zero shot" in table
    assert "lora r=2" in table

    (tmp_path / "job.sh").write_text(script())
    job = run("sbatch", "--parsable", "--cpus-per-task=1", "job.sh", cwd=tmp_path).strip()
    wait_for(lambda: list(tmp_path.glob("machine_b/runs/*/progress.json")))
    slurm("scancel", "--signal=USR2", job)  # its time is nearly up
    wait_for(lambda: slurm.restarts(job) == 1)
    wait_for(lambda: not slurm("squeue", "--noheader"))
    assert "ExitCode=0:0" in slurm("scontrol", "show", "job", job)
    assert "interrupted; the same command goes on" in (tmp_path / f"slurm-{job}.out").read_text()

    both, page = lines("cluster.md", "python -m reports ")
    assert "3 runs: 3 done, 0 failed, 0 missing." in said(small(both))  # the one of both is once there
    said(page)
    assert (tmp_path / "page.html").is_file()
    run("bash", "-c", "cp -r machine_b/. machine_a/", cwd=tmp_path)
    assert "cp -r machine_b/. machine_a/" in (ROOT / "docs/cluster.md").read_text()
    again = said("peft-harness +sweep=tiny", *SMALL, "seed=0,1", "results=machine_a", "--dry-run")
    assert again.splitlines()[-1] == "4 of 4 done in machine_a"
