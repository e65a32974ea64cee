"""What is said before a sweep runs: of learning rates that nobody gave or tuned, of weights that are not kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from omegaconf import OmegaConf

from harness.config.run_settings import RunSettings
from harness.places import CONF, own_folders


def own_rate(settings: RunSettings) -> str | None:
    """What its facts say of where the run's rate comes from; None where it is not the method's own, or nothing is
    trained."""
    files = [folder / "method" / f"{settings.method.name}.yaml" for folder in (CONF, *own_folders())]
    file = next((each for each in files if each.exists()), None)
    if file is None or not settings.method.trains:
        return None
    return settings.method.facts.lr_from if OmegaConf.select(OmegaConf.load(file), "lr") == settings.method.lr else None


def before_sweep(points: Sequence[RunSettings], tuned: bool) -> list[str]:
    """The lines that are said before a sweep of these points."""
    unkept = sorted({p.label() for p in points if p.method.trains and not (p.method.keeps or p.keep_model)})
    lines = [f"not kept: the trained weights of {', '.join(unkept)}; keep_model=true keeps them"] if unkept else []
    rates = None if tuned else own_rates(points)
    return [*([rates] if rates else []), *lines]


def own_rates(points: Sequence[RunSettings]) -> str | None:
    """A line for a sweep in which rows run at their methods' own rates and no other; None where none does."""
    rates: dict[str, set[float | None]] = defaultdict(set)
    for settings in points:
        rates[settings.label()].add(settings.method.lr)
    rows = {settings.label() for settings in points if len(rates[settings.label()]) == 1 and own_rate(settings)}
    if not rows:
        return None
    which = f"{len(rows)} row runs at its method's" if len(rows) == 1 else f"{len(rows)} rows run at their methods'"
    return f"learning rates: {which} own, not searched for this sweep; tune=lr would search each row's"
