"""The file in which a run says how far it is."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

INTERVAL = 0.5
"""Seconds between two looks."""


class ProgressFile:
    """The small file in which a running run says where it is; any process on any machine of the sweep may read it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state: dict[str, Any] = {}
        self._written = 0.0

    def write(self, news: dict[str, Any]) -> None:
        """Add to what is known; written at most every INTERVAL seconds, and at once when the phase changes."""
        self._state |= news
        now = time.time()
        if "phase" in news or now - self._written > INTERVAL:
            self._written = now
            temporary = self._path.with_suffix(".partial")
            temporary.write_text(json.dumps(self._state | {"time": now}))
            temporary.replace(self._path)
