"""The base class of every group of settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Typed, frozen settings in which an unknown key or a wrong type is an error.

    Every `_target_` of `conf/` is a subclass, so its signature is checked before anything is loaded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
