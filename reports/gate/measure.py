"""Measure a sweep anew, in a process of its own, into a fresh results folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from harness.errors import UserError
from harness.results.sweep_files import UNTOLD
from reports.gate.baseline import measured
from reports.gate.entries import Baseline
from reports.read.runs import load_sweep

ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}
"""Settings of glibc's allocator under which a freed tensor leaves resident memory at once. By default it adapts its
thresholds as it goes, and peaks of equal runs differ by a tenth."""
NOTE = "allocator.txt"
"""File of a results folder that says with which settings it was measured."""


def measure(sweep: str, overrides: Sequence[str], repeats: Sequence[int], results: Path) -> Baseline:
    """What the sweep measures now, each repeat of every run. Raises UserError where it cannot be run."""
    results.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "harness", f"+sweep={sweep}", "force=true", f"results={results}", *overrides]
    if list(repeats) != [0]:
        command.append(f"repeat={','.join(map(str, repeats))}")
    environment = os.environ | ALLOCATOR | {"HARNESS_CACHE": str(_cache(results)), UNTOLD: "1"}
    code = subprocess.run(command, env=environment, check=False, stdout=sys.stderr).returncode
    if code == 130:
        raise KeyboardInterrupt
    if code not in (0, 1):  # 1: a run failed, which its record says
        raise UserError(f"{' '.join(command[1:])}: ended with code {code}; see above")
    (results / NOTE).write_text(allocator_settings() + "\n", encoding="utf-8")
    return of_folder(results, sweep, overrides)


def allocator_settings() -> str:
    """As one line."""
    return " ".join(f"{name}={value}" for name, value in ALLOCATOR.items())


def of_folder(results: Path, sweep: str, overrides: Sequence[str] = ()) -> Baseline:
    """What the records of a sweep in a results folder say. Raises UserError."""
    note = results / NOTE
    allocator = note.read_text(encoding="utf-8").strip() if note.exists() else None
    return measured(load_sweep(results, sweep).runs, sweep, allocator, overrides)


def _cache(results: Path) -> Path:
    """A cache without scores of base models, which are measured anew too, and with the converted models there are."""
    cache = results / "cache"
    cache.mkdir(exist_ok=True)
    known = Path(os.environ.get("HARNESS_CACHE") or platformdirs.user_cache_dir("peft-harness"))
    for path in known.glob("*") if known.is_dir() else ():
        if path.is_dir() and path.name != "base" and not (cache / path.name).exists():
            (cache / path.name).symlink_to(path.resolve())
    return cache
