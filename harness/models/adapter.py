"""A model with an adapter of PEFT folded into its weights: the base of a run that goes on from both."""

from __future__ import annotations

import functools
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError, first_line, memory_is_out, reason
from harness.models import BaseModelSource, Classes, Pretrained, hash_folder, read_tokenizer
from harness.models.adapter_files import CONFIG, adapter_config, file_of
from harness.models.hub import HubModel
from harness.models.local import LocalModel
from harness.settings import Name

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

REWRITING = ("pissa", "olora", "loftq", "corda", "lora_ga")
"""Starts of LoRA that change the base's weights, of which the adapter's files hold nothing."""


class AdapterModel(BaseModelSource):
    """The model that an adapter was trained on, and the adapter, as one plain model."""

    adapter: Name
    """A folder, or a hub id, with an adapter_config.json."""
    revision: Name = "main"
    """Of the adapter on the hub: branch, tag or commit."""
    base: Name | None = None
    """A folder or a hub id; None: the one that adapter_config.json names."""
    base_revision: Name | None = None
    """Of the base on the hub; None: the one that adapter_config.json names, else main."""
    trust_remote_code: bool = False
    """Run Python code that comes with the base, where its configuration names some."""

    @property
    def source(self) -> str | Path:
        """Where the adapter lies."""
        return Path(self.adapter) if os.path.isdir(self.adapter) else self.adapter

    @property
    def model(self) -> Pretrained:
        """The base by itself. Raises UserError where it is not to be found."""
        config = _config(self.source, self.revision)
        name = self.base or config.get("base_model_name_or_path")
        if not name:
            raise UserError(f"{self._place}: its {CONFIG} names no base; name it: model.base=…")
        given: dict[str, Any] = {name: getattr(self, name) for name in ("name", "attention", "trust_remote_code")}
        if os.path.isdir(name):
            return LocalModel(path=name, **given)
        if _is_path(name):
            raise UserError(f"{self._place}: its base is in {name}, where there is nothing; name it: model.base=…")
        own = None if self.base else config.get("revision")
        return HubModel(id=name, revision=self.base_revision or own or "main", **given)

    @property
    def _place(self) -> str:
        return f"model.adapter={self.adapter}"

    @property
    def runs_code(self) -> bool:
        return self.trust_remote_code

    def identity(self) -> dict[str, Any]:
        base = self.model
        where = {"hub": self.adapter, "revision": self.revision}
        own = {"folder_sha256": hash_folder(self.source)} if isinstance(self.source, Path) else where
        return {"adapter": own, "base": base.identity()}

    def describe(self) -> str:
        place = f"in the folder {self.adapter}" if isinstance(self.source, Path) else self.adapter
        at = "" if isinstance(self.source, Path) else f" at revision {self.revision}"
        return f"{self.model.describe()}, with the adapter {place}{at} folded in"

    def parts(self, classes: Classes = None) -> tuple[Any, PreTrainedTokenizerBase]:
        """The tokenizer is the adapter's own where it has one."""
        base = self.model
        try:
            config, tokenizer = base.parts(classes)
        except UserError as error:
            raise UserError(f"{self._place}: its base cannot be had: {error}") from None
        if file_of(self.source, self.revision, "tokenizer_config.json"):
            origin = base.origin._replace(source=self.source, revision=self.revision)
            tokenizer = read_tokenizer(origin, config)
        return config, tokenizer

    def load(
        self, dtype: Any, device: str, quantization: Any, classes: Classes = None
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        if quantization is not None:
            raise UserError(
                f"{self._place}: is folded into plain weights; keep both as one model by PEFT's merge_and_unload "
                "(docs/adapters.md) and quantize that one: model=path model.path=…"
            )
        _, tokenizer = self.parts(classes)
        base = self.model
        model, _ = base.load(dtype, device, None, classes)
        try:
            merged = self._folded(model)
        except Exception as error:  # PEFT, safetensors and torch fail in ways of their own on what does not fit
            if isinstance(error, UserError) or memory_is_out(error):
                raise
            raise UserError(f"{self._place}: does not fit {base.describe()} ({reason(error)})") from None
        # What is trained on it fits neither alone: no one is to load that on the base, as PEFT would by this name.
        merged.name_or_path = merged.config.name_or_path = f"{base.origin.source} + {self.adapter}"
        return merged.requires_grad_(True), tokenizer

    def _folded(self, model: Any) -> Any:
        """The model with the adapter's change in its weights, its layers those of its architecture."""
        from peft import PeftConfig, PeftModel, get_peft_model_state_dict
        from peft.utils.save_and_load import load_peft_weights

        from harness.models.roles import in_parts, prepare
        from harness.models.split_layers import restore, untie

        config: Any = PeftConfig.from_pretrained(str(self.source), revision=self.revision)
        start = getattr(config, "init_lora_weights", None)
        if isinstance(start, str) and start.startswith(REWRITING):
            raise UserError(
                f"{self._place}: its start ({start}) changed weights of its base, which it does not hold; keep the "
                "merged model of such a run (keep_model=true) and use model=path model.path=…"
            )
        if config.is_prompt_learning:
            raise UserError(
                f"{self._place}: {config.peft_type.value} stands beside the weights, and cannot be folded in"
            )
        endings = config.target_modules if isinstance(config.target_modules, list | set) else []
        if in_parts(list(endings)):  # of a run of ours
            prepare(model, list(endings))
        config.task_type = None  # the model's use may be another one
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*missing adapter keys")
            adapted: Any = PeftModel.from_pretrained(model, str(self.source), config=config, revision=self.revision)
        theirs = load_peft_weights(str(self.source), device="cpu", revision=self.revision)
        if lost := sorted(set(theirs) - set(get_peft_model_state_dict(adapted))):
            raise UserError(
                f"{self._place}: {len(lost)} of its {len(theirs)} weights have no place in the base, the first is "
                f"{lost[0]}"
            )
        untie(adapted.get_base_model())
        return restore(adapted.merge_and_unload())


@functools.cache
def _config(source: str | Path, revision: str) -> dict[str, Any]:
    """The adapter's configuration. Raises UserError."""
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    where = f"model.adapter={source}"
    if isinstance(source, str) and _is_path(source):
        raise UserError(f"{where}: no such folder; name one with an {CONFIG}, or a hub id")
    try:
        config = adapter_config(source, revision)
    except GatedRepoError:
        raise UserError(f"{where}: access to it is restricted; ask for it on the hub, then `hf auth login`") from None
    except RepositoryNotFoundError:
        raise UserError(f"{where}: the hub has none of this name that you may read; check it") from None
    except RevisionNotFoundError:
        raise UserError(f"{where}: has no revision {revision}; check model.revision") from None
    except (OSError, HFValidationError) as error:
        raise UserError(f"{where}: cannot be read ({first_line(error)}); check the name and the network") from None
    if config is None:
        raise UserError(
            f"{where}: no {CONFIG} there; name what PEFT has saved an adapter in, or use model=hub or model=path"
        )
    return config


def _is_path(name: str) -> bool:
    """A hub id has one slash at most, inside."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1
