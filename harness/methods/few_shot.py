"""Learning from the context alone: the untouched base with solved examples in front of each input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from harness.methods import Method, Site

if TYPE_CHECKING:
    import torch


class FewShot(Method):
    """k-shot in-context learning (Brown et al. 2020, https://arxiv.org/abs/2005.14165): nothing is trained."""

    trains: ClassVar[bool] = False

    shots: Annotated[int, Field(ge=1)]

    def label(self) -> str:
        return f"{super().label()} k={self.shots}"

    def apply(self, model: Any, site: Site) -> Any:
        return model.requires_grad_(False)

    def kept_bytes(self, model: Any, dtype: torch.dtype) -> int:
        return 0

    def save(self, model: Any, folder: Path) -> int:
        return 0
