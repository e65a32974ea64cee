"""The cheapest changes that make a run fit a budget of memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.memory.planner import plan

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings


MOST = 4
"""Changes that are suggested at most."""


@dataclass(frozen=True)
class Change:
    """A change of settings that needs less memory."""

    overrides: str
    """As on the command line."""
    train: dict[str, Any]
    quantized: bool = False


def changes(settings: RunSettings) -> list[Change]:
    """What there is to change, cheapest first: optimizer states lose precision that training hardly misses; smaller
    forward passes cost speed alone, as blocks computed again do (a third); quantized weights are another base."""
    train, method = settings.train, settings.method
    options = []
    if not train.optimizer.endswith("8bit"):
        options.append(Change("train.optimizer=adamw8bit", {"optimizer": "adamw8bit"}))
    size = train.batch_size
    while size % 2 == 0:
        size //= 2
        passes = train.accumulation * train.batch_size // size
        options.append(
            Change(f"train.batch_size={size} train.accumulation={passes}", {"batch_size": size, "accumulation": passes})
        )
    if not train.gradient_checkpointing and method.recomputes:
        options.append(Change("train.gradient_checkpointing=true", {"gradient_checkpointing": True}))
    if settings.quantization.kind == "none" and "4bit" in method.facts.quantized:
        options.append(Change("quantization=nf4_dq", {}, quantized=True))
    return options


def suggestions(settings: RunSettings, length: int | None, masters: bool, budget: int) -> list[dict[str, Any]]:
    """Of single changes, else of pairs, and so on, those that fit: overrides, peak_bytes, fits; cheapest first. Where
    nothing does, all of them together."""
    single = changes(settings)
    # All of them at once, with the smallest forward pass: if that does not fit, nothing does.
    strongest = tuple({tuple(change.train): change for change in single}.values())
    least = _one(settings, strongest, length, masters, budget) if strongest else None
    if least is not None and not least["fits"]:
        return [least]
    for count in range(1, len(strongest) + 1):
        fitting: list[dict[str, Any]] = []
        for chosen in combinations(single, count):
            keys = [key for change in chosen for key in change.train]
            if len(set(keys)) < len(keys) or any(_within(chosen, each_fit["overrides"]) for each_fit in fitting):
                continue  # two sizes of forward passes, or a smaller one than is needed
            one = _one(settings, chosen, length, masters, budget)
            if one is None:
                continue
            if least is None or one["peak_bytes"] < least["peak_bytes"]:
                least = one
            if one["fits"]:
                fitting.append(one)
            if len(fitting) == MOST:
                break
        if fitting:
            return fitting
    return [least] if least else []


def _one(
    settings: RunSettings, chosen: tuple[Change, ...], length: int | None, masters: bool, budget: int
) -> dict[str, Any] | None:
    """What becomes of a plan with these changes; None where it cannot be made."""
    try:
        forecast = plan(_changed(settings, chosen), length, masters)
    except UserError:
        return None
    overrides = " ".join(change.overrides for change in chosen)
    return {"overrides": overrides, "peak_bytes": forecast.peak_bytes, "fits": forecast.peak_bytes <= budget}


def _within(chosen: tuple[Change, ...], overrides: str) -> bool:
    """The same changes as in `overrides`, but for a smaller forward pass."""
    ours = {change.overrides.split("=")[0] for change in chosen}
    return ours == {part.split("=")[0] for part in overrides.split() if not part.startswith("train.accumulation")}


def _changed(settings: RunSettings, chosen: tuple[Change, ...]) -> RunSettings:
    from harness.config.compose import compose_settings

    train = settings.train.model_copy(update={key: value for change in chosen for key, value in change.train.items()})
    update: dict[str, Any] = {"train": train}
    if any(change.quantized for change in chosen):
        update["quantization"] = compose_settings(["quantization=nf4_dq"]).quantization
    return settings.model_copy(update=update)
