"""AdaLoRA (Zhang et al. 2023, https://arxiv.org/abs/2303.10512), by PEFT."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from harness.methods import Site
from harness.methods.tuner import Rank, Tuner

if TYPE_CHECKING:
    import torch


class AdaLora(Tuner):
    """`h = W x + alpha/r0 * P diag(s) Q x`; while it trains, the singular values s that matter least are set to zero,
    until `rank` of them are left in the mean layer. It starts with r0, one and a half times as many (as in
    the paper)."""

    resumes: ClassVar[bool] = False  # PEFT's running importance of each singular value is in no checkpoint

    peft: str = "ADALORA"
    rank: Rank
    alpha: Annotated[float, Field(gt=0)]
    first_steps: Annotated[int, Field(ge=0)] | None = None
    """Steps before the first value is taken away (the paper's t_i); None: a tenth of the run."""
    last_steps: Annotated[int, Field(ge=0)] | None = None
    """Steps after the last one is (the paper's t_f); None: half of the run."""
    interval: Annotated[int, Field(ge=1)]
    """Steps between two allocations (the paper's delta T)."""
    orthogonality: Annotated[float, Field(ge=0)]
    """Weight of the penalty (the paper's gamma)."""

    def _around(self, steps: int) -> tuple[int, int]:
        """Steps before and after those in which the rank is lowered."""
        first = steps // 10 if self.first_steps is None else self.first_steps
        return first, steps // 2 if self.last_steps is None else self.last_steps

    def problems(self, steps: int) -> list[str]:
        first, last = self._around(steps)
        if first + last < steps:
            return []
        return [
            f"method={self.name}: first_steps={first} and last_steps={last} leave none of train.steps={steps} to lower "
            "the rank in; make them smaller, or the run longer"
        ]

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        first, last = self._around(site.steps)
        return super().fields(model, site) | {
            "init_r": math.ceil(1.5 * self.rank),
            "target_r": self.rank,
            "lora_alpha": self.alpha,
            "tinit": first,
            "tfinal": last,
            "deltaT": self.interval,
            "total_step": site.steps,
            "orth_reg_weight": 0.0,  # PEFT would add it to every loss that it computes, validation included
        }

    def penalty(self, model: Any) -> torch.Tensor:
        """The weight times the mean of |Q Q^T - I| and |P^T P - I| (Frobenius) over all layers, as PEFT has it; the
        paper's equation 4 squares the norms."""
        import torch

        norms = []
        for name, p in model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                gram = p @ p.T if ".lora_A." in name else p.T @ p
                norms.append(torch.linalg.norm(gram - torch.eye(len(gram), device=gram.device)))
        return self.orthogonality * torch.stack(norms).mean()

    def after_step(self, model: Any, step: int) -> None:
        model.base_model.update_and_allocate(step)
