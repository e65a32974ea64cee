"""Files that are whole or not there, and JSON values: their hash, and what of them JSON has not. Imports nothing of the
project."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def hash_of(value: Any) -> str:
    """Hex SHA-256 of a JSON value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def numbers_or_null(value: Any) -> Any:
    """A JSON value with null for each number that is NaN or infinite, which JSON has not."""
    if isinstance(value, dict):
        return {name: numbers_or_null(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(numbers_or_null, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_atomically(path: Path, text: str, check: Callable[[Path], object] = lambda written: None) -> None:
    """Write the whole text or nothing: a temporary file beside it, synced, checked, then renamed.

    `check` raises what is wrong with the file that was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        check(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
