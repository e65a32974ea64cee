"""Any causal model of transformers, by hub id."""

from __future__ import annotations

from typing import Any

from harness.models import Origin, Pretrained
from harness.settings import Name


class HubModel(Pretrained):
    """A model by hub id and revision; pin the revision (a commit) where a result should be repeatable."""

    id: Name
    """Such as `openai-community/gpt2-medium`."""
    revision: Name = "main"
    """Branch, tag or commit."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model, where its configuration names some."""

    @property
    def hub_name(self) -> str:
        return self.id

    @property
    def origin(self) -> Origin:
        return Origin(self.id, self.revision, self.trust_remote_code)

    def identity(self) -> dict[str, Any]:
        return {"hub": self.id, "revision": self.revision} | self.origin.key

    def describe(self) -> str:
        return f"{self.id} at revision {self.revision}{self.origin.words}"
