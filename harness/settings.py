"""The base class of every group of settings."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from harness.texts import half_pair


class Settings(BaseModel):
    """Typed, frozen settings in which an unknown key or a wrong type is an error.

    Every `_target_` of `conf/` is a subclass, so its signature is checked before anything is loaded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _can_be_written(cls, value: Any) -> Any:
        """A command line may hold bytes that are no text, a YAML file half a surrogate pair."""
        if said := half_pair(value):
            raise ValueError(said)
        return value
