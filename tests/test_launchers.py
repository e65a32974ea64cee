"""A sweep's points may run in processes that a launcher starts, from a folder that is not this one's."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import LIMIT, SMALL, Harness

from harness.config import ROOT

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
