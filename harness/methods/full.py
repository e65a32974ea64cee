"""Full fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from harness.methods import Method, Site


class FullFineTuning(Method):
    """Every weight is trained: fp32 master weights, computation in the run's dtype by autocast."""

    trains_base: ClassVar[bool] = True

    lr: Annotated[float, Field(gt=0)]

    def apply(self, model: Any, site: Site) -> Any:
        return model.requires_grad_(True)

    def save(self, model: Any, folder: Path) -> int:
        """Writes nothing, since full copies would fill the disk; the bytes are those of a copy in the run's dtype."""
        return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
