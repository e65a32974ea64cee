"""The package as it is installed, without its checkout: a tiny sweep from an empty folder, and its table."""

from __future__ import annotations

import zipfile
from pathlib import Path

from harness.places import ROOT
from tests.support.installed import FAST, run


def test_a_wheel_holds_all_that_is_read(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder, inside in {"conf": "harness/conf", "sweeps": "harness/sweeps"}.items():
        files = {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*.yaml")}
        assert files
        assert {f"{inside}/{file}" for file in files} <= names
    for room in ("harness", "reports", "hydra_plugins"):
        files = {path.relative_to(ROOT).as_posix() for path in (ROOT / room).rglob("*") if path.is_file()}
        assert {file for file in files if "__pycache__" not in file} <= names
    assert not [name for name in names if name.startswith(("tests/", "conf/", "sweeps/", "docs/"))]


def test_a_tiny_sweep_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    assert run(installed / "peft-harness", "--version", cwd=tmp_path).startswith("peft-harness ")
    assert "== Configuration groups ==" in run(installed / "peft-harness", "--help", cwd=tmp_path)
    run(installed / "peft-harness", "+sweep=tiny", *FAST, cwd=tmp_path)
    for reports in ((installed / "peft-harness-reports",), (installed / "python", "-m", "reports")):
        assert "| lora r=2" in run(*reports, "tiny", cwd=tmp_path)
    again = run(installed / "python", "-m", "harness", "+sweep=tiny", *FAST, "--dry-run", cwd=tmp_path)
    assert again.splitlines()[-1] == "2 of 2 done in results"
    assert {path.name for path in tmp_path.iterdir()} == {"results"}
