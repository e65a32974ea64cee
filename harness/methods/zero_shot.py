"""The untouched base model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from harness.methods import Method, Site


class ZeroShot(Method):
    """No training: the base row."""

    trains: ClassVar[bool] = False
    untouched: ClassVar[bool] = True

    def apply(self, model: Any, site: Site) -> Any:
        return model.requires_grad_(False)

    def save(self, model: Any, folder: Path) -> int:
        return 0
