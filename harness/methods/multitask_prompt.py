"""Multitask prompt tuning (Wang et al. 2023, https://arxiv.org/abs/2303.02861), by PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness.methods import Site
from harness.methods.soft_prompts import InputVectors


class MultitaskPromptTuning(InputVectors):
    """Vectors shared by tasks, each multiplied by the task's own product of low rank: `P * (U V)`.

    A run has one task, so this is the paper's second stage, adaptation to a target task, without what its first stage
    would have given P: P starts at random.
    """

    virtual_tokens: Annotated[int, Field(ge=1)]
    rank: Annotated[int, Field(ge=1)]
    """Of the task's product; 1 in the paper."""

    def config(self, model: Any, site: Site) -> Any:
        from peft import MultitaskPromptTuningConfig

        return MultitaskPromptTuningConfig(
            task_type=site.task_type, num_virtual_tokens=self.virtual_tokens, num_ranks=self.rank, num_tasks=1
        )

    def apply(self, model: Any, site: Site) -> Any:
        return _of_one_task(super().apply(model, site))

    def load(self, model: Any, folder: Path) -> Any:
        return _of_one_task(super().load(model, folder))


def _of_one_task(model: Any) -> Any:
    """PEFT asks for the task of each text; there is one."""

    def task_zero(_encoder: Any, arguments: tuple[Any, Any]) -> tuple[Any, Any]:
        return arguments[0], arguments[0].new_zeros(len(arguments[0]))

    model.prompt_encoder["default"].register_forward_pre_hook(task_zero)
    return model
