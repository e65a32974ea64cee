"""A sweep on a cluster of Ray that is there already, a node of which dies while it trains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.command_line import LIMIT, Harness, wait_for
from tests.support.records import run_folder
from tests.support.stopped import SMALL_BUT_STEPS, curve, own_sweep

STEPS = 300


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head, on which nothing is run, and two nodes that run one point at a time."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    utils = pytest.importorskip("ray.cluster_utils", reason="needs peft-harness[cluster]")
    nodes = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def family(node: Any) -> list[psutil.Process]:
    """Every process of a node, and of the runs in it."""
    (raylet,) = (each.process.pid for each in node.all_processes["raylet"])
    top = psutil.Process(raylet)
    return [top, *top.children(recursive=True)]


def test_a_node_dies_and_its_run_goes_on_elsewhere(harness: Harness, cluster: Any, tmp_path: Path) -> None:
    address = f"++hydra.launcher.ray.init.address={cluster.address}"
    sweep = (*own_sweep(tmp_path / "own", STEPS, every=5), "hydra/launcher=ray", address)
    process = harness.start(*sweep, small=SMALL_BUT_STEPS)

    def finished() -> dict[Path, tuple[bytes, int]]:
        """The records that are ok: their content, and when they were written."""
        paths = [
            run_folder(harness.results, run) / "record.json" for run, r in harness.records().items() if r.status == "ok"
        ]
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}

    def training() -> Path | None:
        """The folder of a run that trains on from a checkpoint, when another one is done."""
        for path in harness.results.glob("runs/*/checkpoint.pt") if finished() else ():
            if json.loads(path.with_name("progress.json").read_text())["phase"] == "train":
                return path.parent
        return None

    folder = wait_for(training, process)
    before = finished()
    log = str(folder / "log.txt")
    (lost,) = (
        node
        for node in cluster.worker_nodes
        if any(log in (opened.path for opened in one.open_files()) for one in family(node))
    )
    for one in family(lost):
        one.kill()

    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    assert before
    assert before.items() <= finished().items()
    records = harness.records()
    assert [record.status for record in records.values()] == ["ok"] * 3
    assert (records[folder.name].resumed_from or 0) >= 5
    assert [line["step"] for line in curve(harness.results, folder.name)] == [*range(1, STEPS + 1)]
