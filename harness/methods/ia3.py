"""(IA)3 (Liu et al. 2022, https://arxiv.org/abs/2205.05638), by PEFT."""

from __future__ import annotations

from typing import Any

from harness.methods import Site
from harness.methods.tuner import Tuner


class Ia3(Tuner):
    """Learned factors, one at the start: on the outputs of attention modules, on the inputs of `down` in the MLP."""

    peft: str = "IA3"

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        return super().fields(model, site) | {"feedforward_modules": site.targets.get("down", [])}
