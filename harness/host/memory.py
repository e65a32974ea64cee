"""How much memory there is: the machine's, or what its container may have of it. Imports no torch."""

from __future__ import annotations

from pathlib import Path

import psutil

CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Where a container's limit stands and what it has in use (version 2 and 1 of cgroups); no limit is a word, or a number
beyond any memory."""


def total() -> int:
    """Bytes that all processes may hold together."""
    limits = [number for limit, _ in CGROUPS if (number := _number(limit)) is not None]
    return min([int(psutil.virtual_memory().total), *limits])


def available() -> int:
    """Bytes that processes may still take."""
    left = [int(psutil.virtual_memory().available)]
    for paths in CGROUPS:
        limit, used = map(_number, paths)
        if limit is not None and used is not None:
            left.append(limit - used)
    return max(0, min(left))


def _number(path: str) -> int | None:
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
