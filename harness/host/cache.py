"""The cache folder: converted models and what is computed once per base model and data. What no longer has the checksum
with which it was kept is made anew, and a line says so."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from harness.errors import UserError
from harness.files import sha256_of, write_atomically
from harness.notices import say

SUMS = ".checksums.json"
"""In a folder of the cache: which folder it is, and the SHA-256 of each of its files."""

_seen: dict[Path, list[tuple[str, int, int]]] = {}
"""Folders that this process has found whole: names, sizes and times of their files, which are not read twice."""


def cache_folder() -> Path:
    """`$HARNESS_CACHE`, or the user's cache folder of this system."""
    return Path(os.environ.get("HARNESS_CACHE") or platformdirs.user_cache_dir("peft-harness"))


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`, built by `build(empty folder)` if it is not there yet, or not as it was built.

    Safe when several processes start at once (one builds, the others wait), and when a build is interrupted: what it
    left is thrown away and built anew, since the folder gets its name only when it is whole.
    """
    if _whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder.parent}: cannot be made ({error.strerror}); HARNESS_CACHE names a folder that can be written to"
        ) from None
    with FileLock(folder.with_name(folder.name + ".lock")):
        if not _whole(folder):
            if folder.exists() or folder.is_symlink():
                say(f"{folder}: not as it was kept (its files do not match their checksums); made anew")
                _remove(folder)
            partial = folder.with_name(folder.name + ".partial")
            _remove(partial)
            partial.mkdir()
            build(partial)
            seal(partial, folder.name)
            partial.rename(folder)
    return folder


def seal(folder: Path, name: str) -> None:
    """Note the checksums of a folder's files as they are now; `name`: what the folder is called when it is whole."""
    write_atomically(folder / SUMS, json.dumps(_sums(folder, name), indent=1) + "\n")


def keep(path: Path, text: str) -> None:
    """Keep a text in the cache; `kept` gives it back."""
    write_atomically(path, f"{_sum(path, text)}\n{text}")


def kept(path: Path) -> str | None:
    """The text that is kept there; None where there is none, or none that is as it was kept: it is taken away."""
    try:
        digest, _, text = path.read_bytes().decode().partition("\n")
    except (OSError, UnicodeDecodeError):
        if not os.path.lexists(path):
            return None
        digest, text = "", ""
    if digest == _sum(path, text):
        return text
    say(f"{path}: not as it was kept (it does not match its checksum); made anew")
    _remove(path)
    return None


def _sum(path: Path, text: str) -> str:
    return hashlib.sha256(f"{path.name}\n{text}".encode()).hexdigest()


def _whole(folder: Path) -> bool:
    """The folder is there, with the files that were built and no others, each as it was."""
    listing = _files(folder)
    if listing and _seen.get(folder) == listing:
        return True
    try:
        whole = bool(json.loads((folder / SUMS).read_bytes()) == _sums(folder, folder.name))
    except (OSError, ValueError, RecursionError):  # none there, or none that can be read
        return False
    if whole:
        _seen[folder] = listing
    return whole


def _sums(folder: Path, name: str) -> dict[str, Any]:
    return {"of": name, "sha256": {place: sha256_of(folder / place) for place, _, _ in _files(folder)}}


def _files(folder: Path) -> list[tuple[str, int, int]]:
    """Place, size and time of each file below a folder but its checksums; none where it is no folder."""
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir() and path.name != SUMS)
    stats = [(path, path.lstat()) for path in paths]
    return [(str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def _remove(path: Path) -> None:
    """Take away a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
