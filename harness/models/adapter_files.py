"""An adapter of PEFT as it lies in a folder or on the hub. Imports neither torch nor PEFT."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.network import unreachable
from harness.texts import json_object

CONFIG = "adapter_config.json"


def file_of(source: str | Path, revision: str | None, name: str) -> Path | None:
    """A file of a folder, or of a hub id at a revision; None where it is not there, or not in the cache and the hub not
    to be asked. Raises what the hub's client raises for a repository or revision that is not there (`OSError`s)."""
    if isinstance(source, Path):
        return source / name if os.path.isfile(source / name) else None  # Path's own raises where a name is too long
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    unreachable()
    try:
        return Path(hf_hub_download(source, name, revision=revision))
    except EntryNotFoundError:
        return None


def adapter_config(source: str | Path, revision: str | None) -> dict[str, Any] | None:
    """An adapter's configuration, None where there is none. Raises as `file_of`, and UserError for a damaged one."""
    path = file_of(source, revision, CONFIG)
    return None if path is None else json_object(path)


def refuse_adapter(source: str | Path, revision: str | None) -> None:
    """Raise UserError where a model is asked for and an adapter lies there: transformers would take the model that the
    adapter names, whatever weights lie beside it."""
    from huggingface_hub.errors import HFValidationError

    try:
        found = adapter_config(source, revision)
    except (OSError, HFValidationError):
        return  # is told of the model
    if found is not None:
        base = found.get("base_model_name_or_path") or "a model that it does not name"
        raise UserError(
            f"model {source}: is an adapter of {base}, and no model; model=adapter model.adapter={source} starts from "
            "both together"
        )


def is_data(name: str) -> bool:
    """Whether the hub has a data set of this id; False where it does not say."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    try:
        return HfApi().repo_exists(name, repo_type="dataset")
    except (OSError, HFValidationError):
        return False
