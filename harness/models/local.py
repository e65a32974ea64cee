"""Any causal model of transformers, from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.models import BaseModelSource, Classes, hash_folder, load_pretrained, read_parts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class LocalModel(BaseModelSource):
    """A model in a folder written by `save_pretrained`."""

    path: str
    """The folder."""

    def identity(self) -> dict[str, Any]:
        folder = Path(self.path)
        if not (folder / "config.json").is_file():
            raise UserError(f"model.path={self.path}: no config.json there; name a folder written by save_pretrained")
        return {"folder_sha256": hash_folder(folder)}

    def describe(self) -> str:
        return f"model in the folder {self.path}"

    def parts(self, classes: Classes = None) -> tuple[Any, PreTrainedTokenizerBase]:
        return read_parts(Path(self.path), None, classes)

    def load(
        self, dtype: Any, device: str, quantization: Any, classes: Classes = None
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        return load_pretrained(Path(self.path), None, self.attention_for(device), dtype, device, quantization, classes)
