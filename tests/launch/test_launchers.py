"""A sweep's points may run in processes that a launcher starts, from a folder that is not this one's."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.places import ROOT
from harness.results.sweep_files import read_sweep
from tests.support.command_line import LIMIT, SMALL, Harness

RAY = "++hydra.launcher.ray.init={address: local, num_cpus: 2, include_dashboard: false}"


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("hydra_plugins.hydra_joblib_launcher", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]),
        ("hydra_plugins.hydra_submitit_launcher", ["hydra/launcher=submitit_local"]),
        ("hydra_plugins.hydra_ray_launcher", ["hydra/launcher=ray", RAY]),
    ],
    ids=["joblib", "submitit", "ray"],
)
def test_two_points_by_a_launcher(tmp_path: Path, module: str, arguments: list[str]) -> None:
    if importlib.util.find_spec(module) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{module} must be installed where CI runs")
        pytest.skip(f"{module} is not installed: pip install 'peft-harness[cluster]'")
    # The results are named relative to the folder in which the command is given, wherever a launcher's processes start.
    command = [sys.executable, "-m", "harness", "-m", *SMALL, "results=relative", "seed=0,1", "threads=1", *arguments]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=surroundings, timeout=LIMIT)
    assert result.returncode == 0, result.stderr
    records = Harness(tmp_path / "relative").records().values()
    assert [(record.status, record.step) for record in records] == [("ok", 6), ("ok", 6)]
    assert {record.key["settings"]["seed"] for record in records} == {0, 1}


WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"submitit", "ray"}:
            raise ModuleNotFoundError(name)
        return None
sys.meta_path.insert(0, Without())
"""


@pytest.mark.parametrize(
    ("launcher", "there", "line"),
    [
        ("submitit_slurm", True, "there is no Slurm here (no srun in PATH)"),
        ("submitit_slurm", False, "needs the extra cluster; pip install 'peft-harness[cluster]'"),
        ("submitit_local", False, "needs the extra cluster; pip install 'peft-harness[cluster]'"),
        ("ray", False, "needs the extra cluster; pip install 'peft-harness[cluster]'"),
        ("jobib", True, "there is none; "),
    ],
)
def test_a_launcher_that_cannot_launch_is_one_line(launcher: str, there: bool, line: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("hydra_plugins.hydra_submitit_launcher") is None:
        pytest.skip("the launchers are not installed: pip install 'peft-harness[cluster]'")
    (tmp_path / "sitecustomize.py").write_text("" if there else WITHOUT)
    command = [sys.executable, "-m", "harness", "-m", *SMALL, f"results={tmp_path / 'results'}", "seed=0,1"]
    surroundings = os.environ | {"PYTHONPATH": str(tmp_path), "PATH": str(tmp_path)}
    result = subprocess.run(
        [*command, f"hydra/launcher={launcher}"], capture_output=True, text=True, cwd=ROOT, env=surroundings
    )
    assert result.returncode == 2, result.stderr
    errors = [each for each in result.stderr.splitlines() if each.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: hydra/launcher={launcher}: {line}")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "results" / "runs").exists()


def test_ray_that_finds_a_cluster_it_was_not_told_of_is_one_line(harness: Harness, tmp_path: Path) -> None:
    """`ray start` leaves the cluster's address in a file, which Ray takes where none is given."""
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="needs peft-harness[cluster]")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9")
    surroundings = {"RAY_TMPDIR": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"}
    ended = harness("-m", "seed=0,1", "hydra/launcher=ray", **surroundings)
    assert ended.returncode == 1
    (line,) = (each for each in ended.stderr.splitlines() if each.startswith("error: "))
    assert "++hydra.launcher.ray.init.address=auto" in line
    assert "Traceback" not in ended.stderr


ELSEWHERE = """
import os
if "HARNESS_COMMAND" in os.environ:
    there = os.sched_getaffinity(0)
    os.sched_getaffinity = lambda process: there | {max(there) + 1}
"""
"""Where a launcher runs things there is a processor more."""


def test_jobs_on_another_kind_of_machine_are_listed_as_they_are_recorded(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs peft-harness[cluster]")
    (tmp_path / "sitecustomize.py").write_text(ELSEWHERE)
    harness = Harness(tmp_path / "results")

    def ended(*words: str) -> subprocess.CompletedProcess[str]:
        launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
        path = os.pathsep.join([str(tmp_path), str(ROOT)])
        return harness("-m", "threads=null", "method=zero_shot", *words, *launcher, PYTHONPATH=path)

    for _ in range(2):  # the second time its jobs find that they are done
        swept = ended("seed=0", "hydra.sweeper.name=one")
        assert swept.returncode == 0, swept.stderr
        (line,) = (each for each in swept.stderr.splitlines() if each.startswith("warning: "))
        assert line.startswith("warning: 1 of 1 runs are recorded under other ids than this machine gives them, ")
        assert "of before" not in swept.stderr
        (record,) = harness.records()
        assert [run["id"] for run in read_sweep([harness.results], "one")["runs"]] == [record]

    tuned = ended("method=lora", "tune=lr", "tune.points=4", "tune.extend=0")
    assert tuned.returncode == 2
    (line,) = (each for each in tuned.stderr.splitlines() if each.startswith("error: "))
    assert line.endswith("; start the sweep where its jobs run")
