"""The untouched base model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.methods import Method, Site

if TYPE_CHECKING:
    import torch


class ZeroShot(Method):
    """No training: the base row."""

    trains: ClassVar[bool] = False
    untouched: ClassVar[bool] = True

    def apply(self, model: Any, site: Site) -> Any:
        return model.requires_grad_(False)

    def kept_bytes(self, model: Any, dtype: torch.dtype) -> int:
        return 0

    def save(self, model: Any, folder: Path) -> int:
        return 0
