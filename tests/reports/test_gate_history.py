"""Change points over versions of a baseline."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from reports.__main__ import main
from reports.gate.baseline import dump
from reports.gate.entries import Baseline
from reports.gate.history import Version, series
from tests.support.gate import version


def moved(history: list[Baseline]) -> dict[str, tuple[str, ...]]:
    found = series([Version(str(place), each) for place, each in enumerate(history)])
    return {each.measure: each.moved for each in found}


def test_a_step_is_one_change_point_and_the_values_after_it_are_none() -> None:
    found = moved([version(day, 7 if day < 4 else 8, 100) for day in range(1, 7)])
    assert found["parameters.total"] == ("", "", "", "regression", "", "")
    assert not any(found["tokens per second"])


def test_a_drift_is_found_once_it_has_gone_far_enough() -> None:
    """Four percent a version: none beside the last one, but more than a tenth beside where it began."""
    found = moved([version(day, 7, 100 * 0.96**day) for day in range(8)])["tokens per second"]
    first = found.index("regression")
    assert first > 1
    assert 0.96**first < 0.9
    assert "improvement" not in found


def test_of_files_and_of_git(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, svg = tmp_path / "repo/baseline.yaml", tmp_path / "history.svg"
    file.parent.mkdir()
    git = ["git", "-C", str(file.parent), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    for day in (1, 2, 3):
        text = dump(version(day, 7 if day < 3 else 9, 100))
        (tmp_path / f"v{day}.yaml").write_text(text)
        file.write_text(text)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", "x"], check=True)
    for source in (file, tmp_path):
        assert main(["history", str(source), "--svg", str(svg)]) == 0
        out = capsys.readouterr().out
        assert "9 !" in out
        assert "1 of 2 measures did not move over 3 versions" in out
        assert ET.parse(svg).getroot().tag.endswith("svg")


def test_of_records_and_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = Path(__file__).parents[2] / "docs/results/methods"
    assert main(["history", str(results), "--sweep", "methods"]) == 0
    assert "did not move over 1 versions" in capsys.readouterr().out
    assert main(["history", str(results)]) == 2
    assert main(["history", str(tmp_path)]) == 2
    assert main(["history", str(tmp_path / "none.yaml")]) == 2
    (tmp_path / "cut.yaml").write_text("schema_version: 1\nruns:\n")
    assert main(["history", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 4
