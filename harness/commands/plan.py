"""Predict the memory of runs without their weights or device: `python -m harness plan model=llama2_7b device=cuda`.

Takes the settings of `python -m harness`, a sweep with -m, and its own:

  plan.budget=24GiB   say whether it fits, and if not the cheapest changes that make it fit (KiB, MiB, GiB or TiB)
  plan.length=2048    tokens of every example, all of them trained on; else the longest batch of the run's data, and
                      train.max_length for models without a tokenizer
  plan.tensors=10     name the largest tensors of the peak, at most 10
  plan.masters=false  what if trained weights were kept in the run's dtype, and not in fp32 as a run keeps them
  plan.measure=true   measure too, by the same pass on the model itself, and put both side by side
  plan.format=json    text or json

Exit codes: 0 done (whether it fits or not), 2 something the user can put right.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from harness.config.compose import composed
from harness.config.sweeps import points
from harness.config.validate import describe, settings_from
from harness.errors import UserError, nearest
from harness.host.units import Budget, budget_bytes
from harness.settings import Settings

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.memory.planner import Plan


class PlanSettings(Settings):
    """What is asked of a plan besides the run's settings."""

    budget: Budget | None = None
    """Memory of the device, such as 24GiB."""
    length: Annotated[int, Field(ge=2, strict=False)] | None = None
    """Tokens of every example."""
    tensors: Annotated[int, Field(ge=0, le=10, strict=False)] = 0
    """How many of the largest tensors are named."""
    masters: Annotated[bool, Field(strict=False)] = True
    """Trained weights are fp32."""
    measure: Annotated[bool, Field(strict=False)] = False
    """Measure it beside the plan, on the model itself."""
    format: Literal["text", "json"] = "text"


def plan_settings(arguments: list[str]) -> PlanSettings:
    """The settings of `plan.…=…` arguments. Raises UserError with every problem at once."""
    values = dict(each.removeprefix("plan.").split("=", 1) for each in arguments if "=" in each)
    problems = [f"{each}: is no setting; it must be plan.name=value" for each in arguments if "=" not in each]
    known = list(PlanSettings.model_fields)
    problems += [f"plan.{name}: unknown key; {nearest(name, known)}" for name in values if name not in known]
    settings = PlanSettings()
    if not problems:
        try:
            settings = PlanSettings.model_validate(values)
        except ValidationError as error:
            problems += describe(error, ("plan",), []).values()
    if settings.measure and (settings.length is not None or not settings.masters):
        problems.append("plan.measure=true: measures the run as it is; leave plan.length and plan.masters out")
    if problems:
        raise UserError(*problems)
    return settings


def main(arguments: list[str]) -> None:
    """Print the plans that the arguments ask for. Raises UserError: before the first one is made, or for those that
    cannot be made, once the others are printed."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    many = bool({"-m", "--multirun"} & set(arguments)) or any(a.startswith("+sweep=") for a in arguments)
    rest = [a for a in arguments if a not in ("-m", "--multirun")]
    asked = plan_settings([a for a in rest if a.startswith("plan.")])
    rows = points([a for a in rest if not a.startswith("plan.")], many)
    problems: dict[str, None] = {}
    runs: list[tuple[str, RunSettings]] = []
    for row in rows:
        try:
            runs.append((" ".join(row), settings_from(composed(row), planned=not asked.measure)))
        except UserError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise UserError(*problems)
    lines, unplanned = _plans(runs, asked)
    if lines and asked.format == "json":
        print(json.dumps(lines, indent=1))
    elif lines:
        from harness.commands._plan_text import text

        print(text(lines, asked.budget))
    if unplanned:
        raise UserError(*unplanned)


def _plans(runs: Sequence[tuple[str, RunSettings]], asked: PlanSettings) -> tuple[list[dict[str, Any]], list[str]]:
    """What is said of each run, and why some cannot be planned."""
    from harness.memory.planner import measure, plan  # torch takes seconds to import, and problems are reported before
    from harness.memory.suggestions import suggestions

    budget = None if asked.budget is None else budget_bytes(asked.budget)
    lines: list[dict[str, Any]] = []
    unplanned: dict[str, None] = {}
    try:
        for number, (overrides, settings) in enumerate(runs, 1):
            _show(f"{number} of {len(runs)}: {overrides[:90]}")
            try:
                forecast = plan(settings, asked.length, asked.masters)
            except UserError as error:  # of this run alone; the others are planned all the same
                unplanned |= dict.fromkeys(error.problems)
                continue
            fits = None if budget is None else forecast.peak_bytes <= budget
            changes = []
            if budget is not None and not fits:
                changes = suggestions(settings, asked.length, asked.masters, budget)
            lines.append(_line(overrides, settings, forecast, fits, changes, asked.tensors))
            if asked.measure:
                line = _line(overrides, settings, measure(settings), None, [], asked.tensors)
                lines.append(line | {"measured": True})
    finally:  # problems are reported on a line of their own
        _show("")
    return lines, [*unplanned]


def _show(text: str) -> None:
    """Where the terminal shows how far this is, in place of what it showed before."""
    if sys.stderr.isatty():
        print(f"\r{'':110}\r{text}", end="", file=sys.stderr, flush=True)


def _line(
    overrides: str, settings: RunSettings, plan: Plan, fits: bool | None, changes: list[dict[str, Any]], tensors: int
) -> dict[str, Any]:
    line: dict[str, Any] = {"overrides": overrides, "model": settings.model.name, "label": settings.label()}
    line |= {"measured": False} | vars(plan) | {"fits": fits, "suggestions": changes}
    line["largest"] = line["largest"][:tensors]
    return line
