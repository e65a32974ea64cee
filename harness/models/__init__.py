"""Where base models come from: one file a source. Imports torch only when a model is loaded."""

from __future__ import annotations

import functools
import hashlib
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class BaseModelSource(Settings):
    """A causal language model to adapt."""

    name: str
    """Short name, shown in tables."""
    attention: str = "auto"
    """Attention implementation of transformers; `auto` is eager on a CPU (faster at short lengths), else sdpa."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What tells this model from any other, hashes of its content included. Loads no weights."""

    @abstractmethod
    def describe(self) -> str:
        """What the model is, in words."""

    @abstractmethod
    def load(self, dtype: Any, device: str, quantization: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The model on `device` in `dtype` (a torch dtype), its base weights quantized as told (a transformers
        quantization config, or None), and its tokenizer. Raises UserError with what to do."""

    def attention_for(self, device: str) -> str:
        """The attention implementation on this device."""
        return self.attention if self.attention != "auto" else ("eager" if device == "cpu" else "sdpa")


def load_pretrained(
    source: str | Path, revision: str | None, attention: str, dtype: Any, device: str, quantization: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal model and tokenizer of transformers, from a folder or a hub id."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        model: Any = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            dtype=dtype,
            attn_implementation=attention,
            quantization_config=quantization,
            device_map={"": device} if quantization else None,
        )
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"model {source}: cannot be loaded ({first}); check the name, the path and the network"
        ) from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model if quantization else model.to(device), tokenizer


@functools.cache
def hash_folder(folder: Path) -> str:
    """SHA-256 over the names and contents of a model folder's files."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
