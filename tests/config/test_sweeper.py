"""Sweeps: which points a file and a command line make, and that what is done is not done again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.config.sweeps import read_sweep_file, sweep_names
from harness.errors import UserError
from harness.places import ROOT, SWEEPS
from harness.results.sweep_files import read_sweep
from tests.support.command_line import Harness


def points(harness: Harness, *arguments: str, small: tuple[str, ...] = ()) -> list[str]:
    """The overrides of each point, as a dry run lists them."""
    result = harness("--dry-run", *arguments, small=small)
    assert result.returncode == 0, result.stderr
    *lines, total = result.stdout.splitlines()
    assert total == f"0 of {len(lines)} done in {harness.results}"
    assert not harness.results.exists()
    return [line[line.index("method=") :] for line in lines]


ON_FILES = {
    "e2e": ["e2e"],
    "fair_e2e": ["e2e"],
    "ranks_tuned": ["e2e"],
    "dialogsum": ["dialogsum"],
    "gsm8k": ["gsm8k"],
    "sst2": ["sst2"],
}
ON_FILES |= {"fair_e2e": ["e2e"], "head": ["sst2", "data=glue/sst2"]}
"""By sweep on data that are not part of the project: their folder, and what else the command line has to say."""


@pytest.mark.parametrize("name", [name for name in sweep_names() if not name.startswith("papers/")])  # test_papers.py
def test_every_sweep_file_composes_and_passes_the_checks(harness: Harness, name: str) -> None:
    overrides = []
    if name in ON_FILES:
        folder, *more = ON_FILES[name]
        data = ROOT.parent / "shared" / "data" / folder
        if not data.is_dir():
            pytest.skip(f"{data} is not there")
        overrides = [*more, f"data.path={data}"]
    result = harness("--dry-run", f"+sweep={name}", *overrides, small=())
    assert result.returncode == 0, result.stderr
    *lines, _ = result.stdout.splitlines()
    ids = [line.split()[2] for line in lines]
    assert len(lines) == len(set(ids)) >= 2
    assert not harness.results.exists()


def test_grids_expand_in_their_order_and_the_command_line_wins(harness: Harness) -> None:
    given = ("-m", "method=lora", "method.rank=1,2", "seed=3,4", f"results={harness.results}")
    rows = [row.split() for row in points(harness, *given)]
    assert [(row[1], row[2]) for row in rows] == [
        ("method.rank=1", "seed=3"),
        ("method.rank=2", "seed=3"),
        ("method.rank=1", "seed=4"),
        ("method.rank=2", "seed=4"),
    ]

    result = harness("+sweep=tiny", "--dry-run", "train.steps=9", small=())
    *lines, _ = result.stdout.splitlines()
    assert len(lines) == len(yaml.safe_load((SWEEPS / "tiny.yaml").read_text())["grids"])
    assert all("train.steps=9" in line and "train.steps=6" not in line for line in lines)


def test_a_list_of_grids_is_their_union(harness: Harness) -> None:
    file = read_sweep_file("quickstart")
    result = harness("--dry-run", "+sweep=quickstart", small=())
    *lines, _ = result.stdout.splitlines()
    methods = [next(word for word in line.split() if word.startswith("method=")) for line in lines]
    expected = []
    for grid in file.grids:
        (method,) = (override for override in grid if override.startswith("method="))
        counts = [override.count(",") + 1 for override in grid]
        total = 1
        for count in counts:
            total *= count
        expected += [method] * total
    assert methods == expected


def test_a_sweep_that_is_not_there() -> None:
    with pytest.raises(UserError, match="did you mean methods"):
        read_sweep_file("method")


IMPORTED = """
import sys
from harness.commands.run import main
try:
    main()
finally:
    print("imported:", *(name for name in ("torch", "transformers", "peft", "wandb") if name in sys.modules))
"""


def test_a_finished_sweep_is_listed_and_done_again_without_torch(harness: Harness) -> None:
    first = harness("+sweep=tiny", "tracker=none", small=())
    assert first.returncode == 0, first.stderr
    records = harness.records()
    manifest = read_sweep([harness.results], "tiny")
    runs = manifest["runs"]
    assert {run["id"] for run in runs} == records.keys()
    assert [run["label"] for run in runs] == ["zero shot", "lora r=2"]
    assert manifest["question"].startswith("Does the harness itself work?")
    written = stamps(harness.results)

    arguments = ["+sweep=tiny", "tracker=none", f"results={harness.results}"]
    again = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == "imported:"
    assert stamps(harness.results) == written

    for extra, word in (([], "done"), (["force=true"], "to do")):
        *lines, _ = harness("--dry-run", "+sweep=tiny", "tracker=none", *extra, small=()).stdout.splitlines()
        assert [line.startswith(word) for line in lines] == [True, True]

    # Each point by itself is the same run as in the sweep.
    alone = harness(*runs[1]["overrides"].split(), small=())
    assert alone.returncode == 0, alone.stderr
    assert stamps(harness.results) == written


def stamps(results: Path) -> dict[str, int]:
    """When each record was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in results.glob("runs/*/record.json")}
