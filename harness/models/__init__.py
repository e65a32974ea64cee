"""Where base models come from: one file a source. Imports torch only when a model is loaded."""

from __future__ import annotations

import functools
import hashlib
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import UserError, first_line
from harness.settings import Settings

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


Classes = tuple[str, ...] | None
"""Names of the classes that a model tells apart; None for a model that writes text."""


class BaseModelSource(Settings):
    """A model to adapt: causal, sequence-to-sequence, or one under a classification head."""

    has_weights: ClassVar[bool] = True
    """False for a shape, which can be planned and not run."""

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
    def load(
        self, dtype: Any, device: str, quantization: Any, classes: Classes = None
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The model on `device` in `dtype` (a torch dtype), its base weights quantized as told (a transformers
        quantization config, or None), and its tokenizer. With `classes`, under a classification head drawn from torch's
        generator where the model has none. Raises UserError with what to do."""

    @abstractmethod
    def parts(self, classes: Classes = None) -> tuple[Any, PreTrainedTokenizerBase]:
        """transformers' configuration of the model, and its tokenizer. Loads no weights. Raises UserError."""

    def outline(self, config: Any, dtype: Any, attention: str, classes: Classes = None) -> PreTrainedModel:
        """The model of a configuration, its weights left as they come: for shapes alone."""
        from transformers.initialization import no_init_weights

        with no_init_weights():
            model: PreTrainedModel = auto_class(config, classes).from_config(
                config, dtype=dtype, attn_implementation=attention
            )
        model.tie_weights()  # which a model whose weights are left as they come is not
        return model

    def attention_for(self, device: str) -> str:
        """The attention implementation on this device."""
        return self.attention if self.attention != "auto" else ("eager" if device == "cpu" else "sdpa")


def load_pretrained(
    source: str | Path,
    revision: str | None,
    attention: str,
    dtype: Any,
    device: str,
    quantization: Any,
    classes: Classes,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model and tokenizer of transformers, from a folder or a hub id."""
    config, tokenizer = read_parts(source, revision, classes)
    try:
        model: Any = auto_class(config, classes).from_pretrained(
            source,
            config=config,
            revision=revision,
            dtype=dtype,
            attn_implementation=attention,
            quantization_config=quantization,
            device_map={"": device} if quantization else None,
        )
    except (OSError, ValueError) as error:
        raise _unreadable(source, error) from None
    return model if quantization else model.to(device), tokenizer


def read_parts(
    source: str | Path, revision: str | None, classes: Classes
) -> tuple[PretrainedConfig, PreTrainedTokenizerBase]:
    """A configuration and tokenizer of transformers, from a folder or a hub id."""
    from transformers import AutoConfig, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        config = AutoConfig.from_pretrained(source, revision=revision, **label_options(classes))
    except (OSError, ValueError) as error:
        raise _unreadable(source, error) from None
    ends = getattr(config.get_text_config(), "eos_token_id", None)
    if tokenizer.eos_token_id is None and ends is not None:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ends[0] if isinstance(ends, list) else ends)
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return config, tokenizer


def _unreadable(source: str | Path, error: Exception) -> UserError:
    return UserError(
        f"model {source}: cannot be loaded ({first_line(error)}); check the name, the path and the network"
    )


def save_pretrained(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a model and its tokenizer as `LocalModel` reads them: whole, in place of what was there, or not at all."""
    import shutil

    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    if own := getattr(model, "own_generation_config", None):  # what it came with, for those who use it elsewhere
        own.to_json_file(partial / "generation_config.json")
    tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def label_options(classes: Classes) -> dict[str, Any]:
    """What a configuration of transformers says of its classes."""
    if classes is None:
        return {}
    return {"id2label": dict(enumerate(classes)), "label2id": {name: i for i, name in enumerate(classes)}}


def auto_class(config: Any, classes: Classes) -> Any:
    """transformers' auto class for this configuration and use."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification

    if classes is not None:
        return AutoModelForSequenceClassification
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


@functools.cache
def hash_folder(folder: Path) -> str:
    """SHA-256 over the names and contents of a model folder's files."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
