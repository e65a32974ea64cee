"""Any causal model of transformers, from a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.models import Origin, Pretrained, hash_folder, refuse_damaged
from harness.models.adapter_files import refuse_adapter
from harness.settings import Name


class LocalModel(Pretrained):
    """A model in a folder written by `save_pretrained`."""

    path: Name
    """The folder."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model, where its configuration names some."""

    @property
    def origin(self) -> Origin:
        """By its whole path, which adapters name as their base: they are loaded from other folders too."""
        return Origin(Path(self.path).absolute(), trust_remote_code=self.trust_remote_code)

    def identity(self) -> dict[str, Any]:
        folder = Path(self.path)
        refuse_adapter(folder, None)
        if not os.path.isfile(folder / "config.json"):
            raise UserError(f"model.path={self.path}: no config.json there; name a folder written by save_pretrained")
        refuse_damaged(folder)
        return {"folder_sha256": hash_folder(folder)} | self.origin.key

    def describe(self) -> str:
        return f"model in the folder {self.path}{self.origin.words}"
