"""Every command of the documentation is one that works: composed, checked, or run dry."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

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
    elif words[2] == "harness":
        words = [sys.executable, *words[1:], f"results={tmp_path}/results", "--dry-run"]
        words = [word for word in words if word != "--help"]
    elif words[2] != "timeit":
        words = [sys.executable, "-m", words[2], "--help"]
    else:
        pytest.skip("a measurement, not a command of the project")
    if any(word.startswith("data.path=") for word in words):
        pytest.skip("needs data that is not part of the project; the sweep's test composes it")
    answer = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert answer.returncode == 0, answer.stderr
