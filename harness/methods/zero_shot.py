"""The untouched base model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from harness.methods import Method


class ZeroShot(Method):
    """No training: the base row."""

    trains: ClassVar[bool] = False

    def apply(self, model: Any, tokenizer: Any, targets: dict[str, list[str]]) -> Any:
        return model.requires_grad_(False)

    def save(self, model: Any, folder: Path) -> int:
        return 0
