"""Ways to adapt a base model: one file a method. Imports torch and PEFT only when a method is applied."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from harness.settings import Settings

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig


class Method(Settings):
    """A way to adapt a base model. The class variables say what combinations make sense."""

    adapts_modules: ClassVar[bool] = False
    """The method acts on chosen modules, so `targets` may be set."""
    trains_base: ClassVar[bool] = False
    """The base's own weights are trained, so they cannot be quantized."""
    trains: ClassVar[bool] = True
    """False for the untouched base."""

    name: str
    lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate."""
    default_roles: list[str] = Field(default_factory=list)
    """Roles adapted where `targets=default`."""

    def label(self) -> str:
        """The row's name in a table."""
        return self.name.replace("_", " ")

    @abstractmethod
    def apply(self, model: Any, tokenizer: Any, targets: dict[str, list[str]]) -> Any:
        """The model ready to train, its trainable parameters marked. Draws from torch's generator.

        `targets`: for each role the endings of the names of its modules.
        """

    def generate(self, model: Any, ids: torch.Tensor, mask: torch.Tensor, config: GenerationConfig) -> torch.Tensor:
        """New tokens [batch, new] for left-padded prompts `ids` and `mask` [batch, length]."""
        tokens: torch.Tensor = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        return tokens[:, ids.shape[1] :]

    def save(self, model: Any, folder: Path) -> int:
        """Write what has to be kept for this task into `folder`; bytes on disk."""
        model.save_pretrained(folder)
        return sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in {".safetensors", ".bin"})
