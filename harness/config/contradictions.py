"""Combinations of settings that make no sense, each with its reason and the remedy; told before anything is loaded."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

from harness.data import Example, filled
from harness.data.chats import Chats
from harness.data.mix import Mix
from harness.data.untouched import load_panel
from harness.errors import UserError, first_line
from harness.host.environment import gpu_name, resolve_device
from harness.metrics.tools import sandbox

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.settings import ForgettingSettings


def contradictions(settings: RunSettings, planned: bool = False) -> list[str]:
    """Combinations that make no sense, each with its reason. `planned`: see `settings_from`."""
    method, quantization, train = settings.method, settings.quantization, settings.train
    problems = quantization.problems() + method.problems(train.steps) + settings.lm_eval.problems()
    storage = {"none": None, "int8": "int8"}.get(quantization.kind, "4bit")
    if storage and storage not in method.facts.quantized:
        works = ", ".join(method.facts.quantized) or "none"
        why = f"does not work on {storage} weights (it does on: {works})"
        if method.trains_base:
            why = "trains the base's weights, and quantized weights cannot be trained"
        elif "quantized" not in method.facts.model_fields_set:
            why = f"does not say that it works on {storage} weights (its file may: facts: {{quantized: [{storage}]}})"
        problems.append(
            f"quantization={quantization.label()}: {method.name} {why}; use quantization=none, or method=lora"
        )
    problems += settings.data.problems()
    if settings.data.head_classes is not None and "classification" not in method.facts.kinds:
        problems.append(
            f"method={method.name}: does not work under a classification head, which data={settings.data.name} needs; "
            "use method=lora"
        )
    if (settings.targets.roles, settings.targets.modules) != (None, None) and not method.adapts_modules:
        problems.append(f"targets: {method.name} does not act on chosen modules; leave targets out")
    if settings.targets.roles == []:
        problems.append("targets.roles: is empty; name at least one role")
    if method.trains and train.warmup_steps >= train.steps:
        problems.append(f"train.warmup_steps={train.warmup_steps}: must be less than train.steps={train.steps}")
    if train.gradient_checkpointing and not method.recomputes:
        problems.append(
            f"train.gradient_checkpointing: {method.name} puts keys and values before the text, which blocks that are "
            "computed again do not see; use false, or method=prompt_tuning"
        )
    if settings.eval.score == "best" and train.validate_every is None:
        problems.append("eval.score=best: needs train.validate_every=N to have steps to choose from")
    if resolve_device(settings.device) == "cpu":
        used = {"dtype": settings.precision, "quantization.compute_dtype": quantization.compute_dtype}
        problems += [
            f"{name}=fp16: the run is on a CPU, which has no fast products in fp16; use bf16 or fp32"
            for name in used
            if used[name] == "fp16"
        ]
    if settings.tune.sampler == "tpe" and settings.tune.setting and importlib.util.find_spec("optuna") is None:
        problems.append("tune.sampler=tpe: needs the extra tune; pip install 'peft-harness[tune]'")
    if settings.trial is not None:
        problems += trial_problems(settings.trial, method.trains, train.steps)
    problems += name_problems(settings.tracker.name)
    if not planned:
        problems += missing(settings)
    if settings.keep_model and not (method.facts.merges or method.trains_base):
        problems.append(f"keep_model: {method.name} cannot be merged into the model; use method=lora or method=full")
    if settings.keep_model and quantization.kind != "none":
        problems.append("keep_model: a model is kept with plain weights; use quantization=none")
    return problems + forgetting_problems(settings.forgetting) + reading_problems(settings)


def name_problems(name: str | None) -> list[str]:
    """What is wrong with the template of a tracked run's name."""
    from jinja2 import TemplateError

    try:
        text = filled(name or "x", label="label", seed=0, id="id")
    except TemplateError as error:
        return [f"tracker.name={name}: {first_line(error)}; write a Jinja template of label, seed and id"]
    return [] if text.strip() else [f"tracker.name={name}: gives no text; name label, seed or id in it"]


def trial_problems(trial: list[int], trains: bool, steps: int) -> list[str]:
    """What makes no trial of tuning."""
    if not trains:
        return [f"trial={trial}: this method trains nothing, so there is nothing to try; leave it out"]
    if trial != sorted(set(trial)) or trial[-1] > steps:
        return [f"trial={trial}: must be rising steps, train.steps={steps} at most"]
    return []


def missing(settings: RunSettings) -> list[str]:
    """What a run needs and is not there."""
    problems = []
    if settings.device == "cuda" and gpu_name() is None:
        problems.append("device=cuda: no CUDA device is visible, or torch is a CPU build; use device=cpu")
    if not settings.model.has_weights:
        problems.append(
            f"model={settings.model.name}: is a shape without weights, for python -m harness plan; to run it use "
            "model=hub model.id=…, or model=path model.path=…"
        )
    return problems + code_problems(settings)


def code_problems(settings: RunSettings) -> list[str]:
    """What a score lacks that runs what the model writes: leave to do so, or a sandbox to do it in."""
    if not (asked := settings.data.families() & set(sandbox.FAMILIES)):
        return []
    if not settings.eval.run_code:
        return [f"metric {', '.join(sorted(asked))}: {sandbox.ASK}; else name other scores in that data's metrics"]
    return [f"eval.run_code=true: {problem}"] if (problem := sandbox.problem()) else []


def reading_problems(settings: RunSettings) -> list[str]:
    """Other readings of the test inputs that cannot be made."""
    problems, source = [], settings.data
    if source.plain and (settings.eval.typos or settings.eval.paraphrases):
        return [f"eval.typos, eval.paraphrases: data={source.name} has no inputs to read otherwise; leave them out"]
    if isinstance(source, Chats) and settings.eval.paraphrases:
        return [f"eval.paraphrases: data={source.name} has conversations, and no template; leave them out"]
    if isinstance(source, Mix) and settings.eval.paraphrases:
        return [f"eval.paraphrases: data={source.name} has templates for each task; use a run of one task"]
    for template in settings.eval.paraphrases:
        from jinja2 import TemplateError

        name, remedy = f"eval.paraphrases: {template!r}", "write a Jinja template of {{ source }}"
        try:
            text = source.model_copy(update={"prompt": template}).render(Example("(source)", ()))
        except TemplateError as error:
            problems.append(f"{name}: {first_line(error)}; {remedy}")
        else:
            problems += [] if "(source)" in text else [f"{name}: leaves out the input; {remedy}"]
    return problems


def forgetting_problems(forgetting: ForgettingSettings) -> list[str]:
    """What cannot be measured of forgetting, each with its remedy."""
    problems = []
    if forgetting.text != "embedded" and not os.path.isfile(forgetting.text):
        problems.append(f"forgetting.text={forgetting.text}: no such file; use embedded, or a text file's path")
    if forgetting.stride > forgetting.window:
        problems.append(
            f"forgetting.stride={forgetting.stride}: must be at most forgetting.window={forgetting.window}, "
            "since the tokens between two windows would not be scored"
        )
    try:
        load_panel(forgetting.panel)
    except UserError as error:
        problems += error.problems
    return problems
