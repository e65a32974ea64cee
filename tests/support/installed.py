"""Commands as the docs have them, in a folder that knows nothing of this checkout."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from harness.places import ROOT
from tests.support.command_line import TINY

SECONDS = 600


def ended(*words: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A command that has ended; it must have done so with this code. Of this checkout it knows nothing."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [*map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=SECONDS)
    assert done.returncode == code, f"{shlex.join(command)}: {done.stdout}{done.stderr}"
    return done


def run(*words: str | Path, cwd: Path, code: int = 0) -> str:
    """What a command prints; it must end with this code."""
    return ended(*words, cwd=cwd, code=code).stdout


def words_of(line: str) -> list[str]:
    """The words of a line of the docs, without its comment."""
    return shlex.split(line.partition(" #")[0])


def lines(page: str, beginning: str) -> list[str]:
    """The commands of a page of the docs that begin so, each on one line."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.M | re.S)
    found = [line for block in blocks for line in block.replace("\\\n", "").splitlines() if line.startswith(beginning)]
    assert found, f"docs/{page} has no line that begins with {beginning}"
    return found


FAST = (*TINY, "train.steps=3", "train.warmup_steps=1", "train.validation_examples=4", "forgetting.max_tokens=256")
"""Makes a run of it a matter of seconds, on a random model."""
FAST_ON_MINE = tuple(word for word in FAST if not word.startswith("model="))
"""The same on the model that the line names."""
