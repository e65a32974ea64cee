"""Files that are whole or not there, and JSON values: their hash, and what of them JSON has not. Imports nothing of the
project."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

LARGEST = 2**30
"""Bytes of a file that a run has written; larger ones are somebody else's."""


def hash_of(value: Any) -> str:
    """Hex SHA-256 of a JSON value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a regular file. Raises OSError."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_regular(path: Path) -> io.BufferedReader:
    """A regular file, to be read. Raises OSError, also for a pipe or a device, which might never end."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return os.fdopen(number, "rb")


def read_regular(path: Path, most: int = LARGEST) -> bytes:
    """The content of a regular file of at most so many bytes. Raises OSError."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"is larger than {most / 2**20:,.0f} MiB", str(path))
        return file.read()


def numbers_or_null(value: Any) -> Any:
    """A JSON value with null for each number that is NaN or infinite, which JSON has not."""
    if isinstance(value, dict):
        return {name: numbers_or_null(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(numbers_or_null, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_atomically(path: Path, content: str | bytes, check: Callable[[Path], object] = lambda written: None) -> None:
    """Write all of it or nothing: a temporary file beside it, synced, checked, then renamed. A link stays, and what it
    names is written; what is no regular file (a device, a pipe) is written to as it is.

    `check` raises what is wrong with the file that was written.
    """
    data = content.encode() if isinstance(content, str) else content
    if _passes_on(path):
        with path.open("wb") as through:
            through.write(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    place = Path(os.path.realpath(path))
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            shutil.copymode(place, temporary)
        check(temporary)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def _passes_on(path: Path) -> bool:
    """What is written there goes somewhere else, as to a device, a pipe, or this process's own output."""
    special = path.exists() and not path.is_file() and not path.is_dir()
    return special or path.parts[:2] in (("/", "dev"), ("/", "proc"))
