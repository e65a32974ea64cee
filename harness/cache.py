"""The cache folder: converted models and what is computed once per base model and data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import platformdirs
from filelock import FileLock


def cache_folder() -> Path:
    """`$HARNESS_CACHE`, or the user's cache folder of this system."""
    return Path(os.environ.get("HARNESS_CACHE") or platformdirs.user_cache_dir("peft-harness"))


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`, built by `build(empty folder)` if it is not there yet.

    Safe when several processes start at once (one builds, the others wait), and when a build is interrupted: what it
    left is thrown away and built anew, since the folder gets its name only when it is whole.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if not folder.exists():
            partial = folder.with_name(folder.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            build(partial)
            partial.rename(folder)
    return folder
