"""Full fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from harness.methods import Method, Site

if TYPE_CHECKING:
    import torch


class FullFineTuning(Method):
    """Every weight is trained: fp32 master weights, computation in the run's dtype by autocast."""

    trains_base: ClassVar[bool] = True
    keeps: ClassVar[bool] = False

    lr: Annotated[float, Field(gt=0)]

    def apply(self, model: Any, site: Site) -> Any:
        return model.requires_grad_(True)

    def kept_bytes(self, model: Any, dtype: torch.dtype) -> int:
        count: int = sum(parameter.numel() for parameter in model.parameters())
        return count * dtype.itemsize

    def save(self, model: Any, folder: Path) -> int:
        """Writes nothing, since full copies would fill the disk; the bytes are those of a copy in the run's dtype."""
        return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
