"""Where a method is applied in a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import UserError
from harness.methods import Kind, Site
from harness.models import roles

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings


def site_of(
    settings: RunSettings,
    model: Any,
    tokenizer: Any,
    kind: Kind,
    inputs: Callable[[], Iterator[dict[str, torch.Tensor]]],
) -> Site:
    """Where the run's method is applied to a model of this kind. Raises UserError."""
    if kind not in (method := settings.method).facts.kinds:
        works = ", ".join(method.facts.kinds)
        raise UserError(f"method={method.name}: does not work on a {kind} model (it does on: {works})")
    modules = roles.resolve(model, settings.roles, settings.targets.modules)
    return Site(tokenizer, modules, kind, settings.train.steps, inputs, roles.left_out(model, settings.roles))
