"""Every command of the documentation is one that works: composed, checked, or run dry."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def commands() -> list[str]:
    """The lines of code blocks that are commands, without their comments."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text(), re.M | re.S):
            found += [line.split(" #")[0].strip() for line in block.splitlines()]
    return sorted({line for line in found if line.startswith(("make ", "python -m "))})


def test_there_are_commands() -> None:
    assert len(commands()) > 5


@pytest.mark.parametrize("command", commands())
def test_command(command: str, tmp_path: Path) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        words = ["make", "-n", *words[1:]]
    elif words[2] == "harness" and words[3:4] and words[3] in COMMANDS:
        words = [sys.executable, *words[1:4], "--help"]
    elif words[2] == "harness":
        words = [sys.executable, *words[1:], f"results={tmp_path}/results", "--dry-run"]
        words = [word for word in words if word != "--help"]
    elif words[2] != "timeit":
        words = [sys.executable, "-m", words[2], "--help"]
    else:
        pytest.skip("a measurement, not a command of the project")
    if any(word.startswith("data.path=") for word in words):
        pytest.skip("needs data that is not part of the project; the sweep's test composes it")
    answer = ended(tuple(words))
    assert answer.returncode == 0, answer.stderr


@functools.cache
def ended(words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """The ended command; run once, although many lines of the pages come down to the help of one command."""
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ))


def test_the_diagram_of_the_rooms_is_drawn_from_the_code() -> None:
    command = [sys.executable, ROOT / "docs/rooms.py"]
    drawn = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    page = (ROOT / "docs/architecture.md").read_text()
    assert re.findall(r"```mermaid.*?```", page, re.S) == re.findall(r"```mermaid.*?```", drawn, re.S)


def test_files_that_the_docs_name_are_there() -> None:
    for page in PAGES:
        if "results" in page.parts:
            continue  # as it was when they were measured
        for name in re.findall(r"`?((?:harness|reports|tests|conf|sweeps|benchmarks)/[\w/.-]*\w)`?", page.read_text()):
            if not re.search(r"NAME|shouting|records/gpu", name):  # to be made by the reader
                assert (ROOT / name).exists(), (page.name, name)


def test_the_metric_of_contributing_is_one(tmp_path: Path) -> None:
    """In a copy of the families, as its reader would try it."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    shutil.copytree(ROOT / "harness", tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "harness/metrics/shouting.py").write_text(block)
    code = "from harness.metrics import compute; print(compute(['shouting'], ['A PUB', 'a pub'], [['a'], ['b']]))"
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "value=50.0" in answer
    assert "examples=(100.0, 0.0)" in answer
