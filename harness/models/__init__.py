"""Where base models come from: one file a source. Imports torch only when a model is loaded."""

from __future__ import annotations

import functools
import hashlib
import os
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from harness.errors import UserError, memory_is_out, reason
from harness.files import sha256_of
from harness.models.adapter_files import is_data, refuse_adapter
from harness.network import unreachable
from harness.settings import Name, Settings
from harness.texts import json_object

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


Classes = tuple[str, ...] | None
"""Names of the classes that a model tells apart; None for a model that writes text."""


class BaseModelSource(Settings):
    """A model to adapt: causal, sequence-to-sequence, or one under a classification head."""

    has_weights: ClassVar[bool] = True
    """False for a shape, which can be planned and not run."""

    name: Name
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
                config, dtype=dtype, attn_implementation=attention, trust_remote_code=self.runs_code
            )
        model.tie_weights()  # which a model whose weights are left as they come is not
        return model

    @property
    def hub_name(self) -> str | None:
        """What the model is called on the hub; None where it is not there."""
        return None

    @property
    def runs_code(self) -> bool:
        """Python code that comes with the model may run."""
        return False

    def attention_for(self, device: str) -> str:
        """The attention implementation on this device."""
        return self.attention if self.attention != "auto" else ("eager" if device == "cpu" else "sdpa")


class Origin(NamedTuple):
    """Where transformers reads a model from."""

    source: str | Path
    """A folder or a hub id."""
    revision: str | None = None
    """Of the hub: branch, tag or commit."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model, where its configuration names some."""

    @property
    def options(self) -> dict[str, Any]:
        """For transformers. Left open, it would ask at the terminal whether to run a model's code."""
        return {"revision": self.revision, "trust_remote_code": self.trust_remote_code}

    @property
    def key(self) -> dict[str, bool]:
        """What of it belongs to the model's identity, beside the source's own."""
        return {"trust_remote_code": True} if self.trust_remote_code else {}

    @property
    def words(self) -> str:
        """What a description of the model ends with."""
        return ", with Python code of its own" if self.trust_remote_code else ""


class Pretrained(BaseModelSource):
    """A model that transformers reads."""

    @property
    @abstractmethod
    def origin(self) -> Origin:
        """Where from. Raises UserError."""

    @property
    def runs_code(self) -> bool:
        return self.origin.trust_remote_code

    def parts(self, classes: Classes = None) -> tuple[Any, PreTrainedTokenizerBase]:
        return read_parts(self.origin, classes)

    def load(
        self, dtype: Any, device: str, quantization: Any, classes: Classes = None
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        return load_pretrained(self.origin, self.attention_for(device), dtype, device, quantization, classes)


def load_pretrained(
    origin: Origin, attention: str, dtype: Any, device: str, quantization: Any, classes: Classes
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model and tokenizer of transformers. Raises UserError."""
    config, tokenizer = read_parts(origin, classes)
    model: Any
    try:
        model, report = auto_class(config, classes).from_pretrained(
            origin.source,
            config=config,
            revision=origin.revision,
            trust_remote_code=origin.trust_remote_code,
            dtype=dtype,
            attn_implementation=attention,
            quantization_config=quantization,
            device_map={"": device} if quantization else None,
            ignore_mismatched_sizes=True,  # told below, by name
            output_loading_info=True,
        )
    except Exception as error:  # a damaged file makes each of the libraries fail in ways of its own
        raise _unreadable(origin, error) from None
    refuse_strange_weights(origin, model, report, head=classes is not None)
    return model if quantization else model.to(device), tokenizer


def read_parts(origin: Origin, classes: Classes) -> tuple[PretrainedConfig, PreTrainedTokenizerBase]:
    """A configuration and tokenizer of transformers. Raises UserError."""
    from transformers import AutoConfig

    if isinstance(origin.source, str):
        unreachable()  # asked before transformers is, which asks for minutes
    refuse_adapter(origin.source, origin.revision)
    if isinstance(origin.source, Path):
        refuse_damaged(origin.source)
    try:
        config = AutoConfig.from_pretrained(origin.source, **origin.options, **label_options(classes))
        refuse_sizes(f"model {origin.source}: config.json", vars(config.get_text_config()))
    except Exception as error:  # a damaged file makes each of the libraries fail in ways of its own
        raise _unreadable(origin, error) from None
    return config, read_tokenizer(origin, config)


def read_tokenizer(origin: Origin, config: PretrainedConfig) -> PreTrainedTokenizerBase:
    """A tokenizer of transformers, for a model of this configuration. Raises UserError."""
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(origin.source, **origin.options)
        ends = getattr(config.get_text_config(), "eos_token_id", None)
        if tokenizer.eos_token_id is None and ends is not None:
            tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ends[0] if isinstance(ends, list) else ends)
        if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
            tokenizer.pad_token = tokenizer.eos_token
    except Exception as error:  # a damaged file makes each of the libraries fail in ways of its own
        raise _unreadable(origin, error) from None
    return tokenizer  # type: ignore[no-any-return]


OBJECTS = ("config.json", "generation_config.json", "tokenizer_config.json")
"""Files of a model that are JSON objects; transformers goes on without some of them where they are not."""


def refuse_damaged(folder: Path) -> None:
    """Raise UserError where a folder holds no model, or the first of these files that is something else."""
    if not os.path.isfile(folder / "config.json"):  # Path's own raises where a name is too long
        raise UserError(f"model {folder}: no config.json there; name a folder written by save_pretrained")
    for path in (folder / name for name in OBJECTS):
        if path.exists():
            json_object(path)


SIZES = (
    *("hidden_size", "intermediate_size", "vocab_size"),
    *("num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
)
"""What a configuration must have at least one of, where it has it."""


def refuse_sizes(place: str, config: Mapping[str, Any]) -> None:
    """Raise UserError for a size that no model has: libraries fail on it anywhere, or not at all."""
    for name in SIZES:
        if isinstance(size := config.get(name), int) and size < 1:
            raise UserError(f"{place}: {name}={size} must be at least 1; correct it")


def refuse_strange_weights(origin: Origin, model: Any, report: Mapping[str, Any], head: bool) -> None:
    """Raise UserError where weights are not those of the configuration: transformers would draw what it lacks, and a
    run would train what nobody has trained before. `head`: a classification head may be new."""
    where, remedy = f"model {origin.source}", "use the weights and the config.json of one model"
    for name, have, want in sorted(report["mismatched_keys"]):
        raise UserError(f"{where}: {name} has the shape {list(have)} and not {list(want)} of its config.json; {remedy}")
    base = f"{model.base_model_prefix}."
    lacks = [n for n in sorted(report["missing_keys"]) if not head or (n.startswith(base) and "pooler" not in n)]
    if lacks:
        raise UserError(f"{where}: its files lack {len(lacks)} weights, the first is {lacks[0]}; {remedy}")


def _unreadable(origin: Origin, error: Exception) -> Exception:
    if isinstance(error, UserError) or memory_is_out(error):
        return error
    if "trust_remote_code" in str(error):
        return UserError(
            f"model {origin.source}: comes with Python code of its own, which is not run unless you say so: read it, "
            "and if you trust it, model.trust_remote_code=true"
        )
    if isinstance(origin.source, str) and (why := unreachable()):
        return UserError(
            f"model {origin.source}: is not in the hub's cache, and {why}; check the name and the network, or use a "
            "model in a folder (model=path model.path=…)"
        )
    if isinstance(origin.source, str) and is_data(origin.source):
        return UserError(
            f"model {origin.source}: is a data set on the hub, and no model; use it as one: data=hub "
            f"data.hub_id={origin.source}"
        )
    there = "check that the folder is whole" if isinstance(origin.source, Path) else "check the name and the network"
    return UserError(f"model {origin.source}: cannot be loaded ({reason(error)}); {there}")


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
        digest.update(bytes.fromhex(sha256_of(path)))
    return digest.hexdigest()
