"""Models by their shape alone, without weights or a tokenizer: for plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import field_validator

from harness.errors import UserError, nearest, reason
from harness.models import BaseModelSource, Classes, label_options, refuse_sizes
from harness.models.tiny import character_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class ShapeModel(BaseModelSource):
    """An architecture of transformers and its sizes."""

    has_weights: ClassVar[bool] = False

    architecture: str
    """transformers' model_type."""
    shape: dict[str, Any]
    """Fields of its configuration."""

    @field_validator("shape")
    @classmethod
    def _heads_divide(cls, shape: dict[str, Any]) -> dict[str, Any]:
        refuse_sizes("the shape", shape)
        width, heads = shape.get("hidden_size"), shape.get("num_attention_heads")
        groups = shape.get("num_key_value_heads")
        if width and heads and not {"head_dim", "d_kv"} & set(shape) and width % heads:
            raise ValueError(f"num_attention_heads={heads} does not divide hidden_size={width}; give one that does")
        if heads and groups and heads % groups:
            raise ValueError(
                f"num_key_value_heads={groups} does not divide num_attention_heads={heads}; give one that does"
            )
        return shape

    def identity(self) -> dict[str, Any]:
        return {"architecture": self.architecture, "shape": self.shape}

    def describe(self) -> str:
        return f"shape of {self.name} ({self.architecture}), without weights"

    def parts(self, classes: Classes = None) -> tuple[Any, PreTrainedTokenizerBase]:
        """The tokenizer stands in for the model's own: what counts of it here is that it gives tokens."""
        from transformers import CONFIG_MAPPING, AutoConfig

        if self.architecture not in CONFIG_MAPPING:
            raise UserError(
                f"model.architecture={self.architecture}: transformers knows none of this name; "
                f"{nearest(self.architecture, sorted(CONFIG_MAPPING))}"
            )
        try:
            config: Any = AutoConfig.for_model(self.architecture, **self.shape, **label_options(classes))
        except Exception as error:  # each configuration checks itself in its own way
            raise UserError(f"model.shape: {reason(error)}; see transformers' {self.architecture} config") from None
        return config, character_tokenizer()

    def load(
        self, dtype: Any, device: str, quantization: Any, classes: Classes = None
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        raise UserError(f"model={self.name}: is a shape without weights")
