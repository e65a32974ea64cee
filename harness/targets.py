"""Roles of modules, resolved to an architecture's own names."""

from __future__ import annotations

from typing import Any, Literal

from harness.errors import UserError
from harness.settings import Settings

Role = Literal["q", "k", "v", "o", "gate", "up", "down"]

LLAMA = {"q": ["q_proj"], "k": ["k_proj"], "v": ["v_proj"], "o": ["o_proj"]} | {
    role: [f"{role}_proj"] for role in ("gate", "up", "down")
}
FAMILIES: dict[str, dict[str, list[str]]] = {
    **dict.fromkeys(["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"], LLAMA),
    "opt": {"q": ["q_proj"], "k": ["k_proj"], "v": ["v_proj"], "o": ["out_proj"], "up": ["fc1"], "down": ["fc2"]},
}
"""By transformers' model_type: for each role the endings of its modules' names."""


class Targets(Settings):
    """Which modules a method touches."""

    roles: list[Role] | None
    """None: the method's own choice."""


def resolve(model: Any, roles: list[str]) -> dict[str, list[str]]:
    """For each role the endings of the names of its modules in `model`. Raises UserError naming what there is."""
    kind = model.config.model_type
    family = FAMILIES.get(kind)
    if family is None:
        raise UserError(
            f"targets: the roles of {kind} models are not known yet; known are {', '.join(sorted(FAMILIES))}"
        )
    # A role without modules, such as `gate` in OPT, is left out of a larger set, but an empty set is an error.
    found = {role: family[role] for role in roles if role in family}
    if roles and not found:
        raise UserError(f"targets: {kind} has none of the roles {', '.join(roles)}; it has {', '.join(family)}")
    return found
