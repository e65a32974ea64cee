"""Files of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write one JSON object a line, whole or not at all; null for a number that is NaN or infinite."""
    from harness.files import numbers_or_null, write_atomically

    texts = (json.dumps(numbers_or_null(line), ensure_ascii=False, allow_nan=False) for line in lines)
    write_atomically(path, "".join(f"{line}\n" for line in texts))


def read_lines(path: Path) -> tuple[dict[str, Any], ...]:
    """What `write_lines` wrote."""
    return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line)
