"""Any causal model of transformers, by hub id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.models import BaseModelSource, Classes, load_pretrained, read_parts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class HubModel(BaseModelSource):
    """A model by hub id and revision; pin the revision (a commit) where a result should be repeatable."""

    id: str
    """Such as `openai-community/gpt2-medium`."""
    revision: str = "main"
    """Branch, tag or commit."""

    def identity(self) -> dict[str, Any]:
        return {"hub": self.id, "revision": self.revision}

    def describe(self) -> str:
        return f"{self.id} at revision {self.revision}"

    def parts(self, classes: Classes = None) -> tuple[Any, PreTrainedTokenizerBase]:
        return read_parts(self.id, self.revision, classes)

    def load(
        self, dtype: Any, device: str, quantization: Any, classes: Classes = None
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        return load_pretrained(self.id, self.revision, self.attention_for(device), dtype, device, quantization, classes)
