"""Runs that no sweep asked for, and folders of results folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.results.sweep_files import write_sweep
from reports.__main__ import main
from reports.read.runs import SINGLE, folders, load_sweep, sweep_names
from tests.support.records import add, add_base, spoiled


def test_runs_of_no_sweep_have_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_base(tmp_path)
    add(tmp_path, "a", spoiled(0.1, 1), {"name": "a"})
    add(tmp_path, "b", spoiled(0.1, 1), {"name": "b"})
    assert sweep_names(tmp_path) == [SINGLE]
    assert {run.id for run in load_sweep(tmp_path, SINGLE).runs} == {"zero_shot", "a", "b"}
    assert main(["--results", str(tmp_path)]) == 0
    assert SINGLE in capsys.readouterr().out.replace("\\", "")
    assert main([SINGLE, "--results", str(tmp_path), "--format", "csv", "--columns", "run_id,status"]) == 0
    assert sorted(capsys.readouterr().out.split()) == sorted(["run_id,status", "zero_shot,ok", "a,ok", "b,ok"])

    write_sweep(tmp_path, "s", "?", [{"id": "a", "label": "a", "overrides": ""}])
    assert sweep_names(tmp_path) == ["s", SINGLE]
    assert {run.id for run in load_sweep(tmp_path, SINGLE).runs} == {"zero_shot", "b"}
    (tmp_path / "runs/b/record.json").write_text("{")
    assert {run.id for run in load_sweep(tmp_path, SINGLE).runs} == {"zero_shot", "b"}, "a broken record is a row too"
    listed = [{"id": run, "label": run, "overrides": ""} for run in ("zero_shot", "b")]
    write_sweep(tmp_path, "t", "?", listed)
    assert sweep_names(tmp_path) == ["s", "t"]
    assert main([SINGLE, "--results", str(tmp_path)]) == 2
    assert "no such sweep; there are: s, t" in capsys.readouterr().err


def test_a_sweep_that_is_called_so_is_itself(tmp_path: Path) -> None:
    add(tmp_path, "a", spoiled(0.1, 1), {"name": "a"})
    add(tmp_path, "b", spoiled(0.1, 1), {"name": "b"})
    write_sweep(tmp_path, SINGLE, "mine", [{"id": "a", "label": "a", "overrides": ""}])
    assert load_sweep(tmp_path, SINGLE).question == "mine"
    assert sweep_names(tmp_path) == [SINGLE]


def test_a_folder_of_results_folders_is_those(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two/deep"):
        place = tmp_path / name
        add_base(place)
        add(place, "a", spoiled(0.1, 1), {"name": "a"})
        write_sweep(place, name[:3], "?", [{"id": each, "label": each, "overrides": ""} for each in ("zero_shot", "a")])
    assert folders(tmp_path) == [tmp_path / "one", tmp_path / "two/deep"]
    assert folders([tmp_path / "one", tmp_path]) == [tmp_path / "one", tmp_path / "two/deep"]
    assert sweep_names(tmp_path) == ["one", "two"]
    assert main(["two", "--results", str(tmp_path)]) == 0
    assert "two: methods" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "one")
    shutil.rmtree(tmp_path / "two")
    assert main(["two", "--results", str(tmp_path)]) == 2
    assert main(["--results", str(tmp_path)]) == 2
