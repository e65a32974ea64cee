"""The settings of a run as one object, its key, and the id that the key gives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, InstanceOf

from harness import data
from harness.data import Source
from harness.host.environment import fingerprint, resolve_dtype
from harness.host.own_code import own_code
from harness.host.units import Budget
from harness.methods import Method
from harness.models import BaseModelSource
from harness.models.quantization import Quantization
from harness.models.roles import Targets
from harness.results.folder import TRIAL, run_id
from harness.results.tuned import VAL_LOSS
from harness.settings import (
    Eval,
    ForgettingSettings,
    InferenceSettings,
    LmEvalSettings,
    Name,
    Settings,
    Tracker,
    Train,
    Tune,
)

ANSWERS = ("batch_size", "max_new_tokens", "beams", "length_penalty", "no_repeat_ngram")
"""Settings of `eval` by which answers are written."""


class RunSettings(Settings):
    """Everything that settles one run."""

    model: InstanceOf[BaseModelSource]
    method: InstanceOf[Method]
    targets: Targets
    quantization: Quantization
    data: InstanceOf[Source]
    tracker: Tracker
    train: Train
    eval: Eval
    forgetting: ForgettingSettings
    lm_eval: LmEvalSettings
    inference: InferenceSettings | None = None  # configurations that earlier runs have kept do without
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    repeat: Annotated[int, Field(ge=0)]
    force: bool
    dtype: Literal["auto", "bf16", "fp16", "fp32"]
    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[int, Field(ge=1, le=4096)] | None
    results: Name
    keep_model: bool
    budget: Budget | None = None
    objective: str | None = None
    tune: Tune = Tune()  # of the sweep that asks for the run
    trial: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] | None = None

    @property
    def roles(self) -> list[str]:
        """The roles that the method adapts; empty where it adapts no modules, or those of `targets.modules`."""
        if not self.method.adapts_modules or self.targets.modules is not None:
            return []
        return list(self.method.default_roles if self.targets.roles is None else self.targets.roles)

    @property
    def precision(self) -> str:
        """`bf16`, `fp16` or `fp32`."""
        return resolve_dtype(self.dtype, self.device)

    def label(self) -> str:
        """The row's name in a table."""
        return " ".join(filter(None, [self.method.label(), self.quantization.label()]))

    def key(self) -> dict[str, Any]:
        """What decides whether two runs are the same: see docs/protocol.md. Reads the data; imports no torch."""
        outcome: dict[str, Any] = {
            name: getattr(self, name).model_dump(mode="json")
            for name in ("method", "quantization", "train", "eval", "forgetting")
        }
        del outcome["method"]["facts"]
        if own := own_code([type(self.method).__module__]):
            outcome["method"]["own_code"] = own
        for name in ("checkpoint_every", "time_limit", "epochs"):
            del outcome["train"][name]
        if not self.train.gradient_checkpointing:
            del outcome["train"]["gradient_checkpointing"]  # runs of before it was a setting did without
        for name in ("keep_texts", "run_code"):
            if not outcome["eval"][name]:
                del outcome["eval"][name]
        if self.keep_model:
            outcome["keep_model"] = True  # the model is something that a finished run has to have
        if self.targets.modules is not None:
            outcome["modules"] = self.targets.modules
        if not self.method.trains:
            # Nothing of training reaches the untouched base but the validation examples and their longest length.
            outcome["train"] = {n: outcome["train"][n] for n in ("batch_size", "validation_examples", "max_length")}
        if self.trial is not None:
            # How answers are scored is no part of a trial that trains and validates alone. Nor is where it stops: one
            # that goes on is the same trial.
            kept = ("method", "quantization", "train", "modules")
            outcome = {name: outcome[name] for name in kept if name in outcome} | {"trial": True}
            del outcome["train"]["validate_every"]
            if self.tune.by != VAL_LOSS:  # which answers make
                answers = {name: getattr(self.eval, name) for name in ANSWERS}
                outcome |= {"by": self.tune.by, "eval": answers}
        elif self.lm_eval.tasks:
            outcome["lm_eval"] = key_of(self.lm_eval)
        for name in ("text", "panel") if self.trial is None else ():
            if (path := outcome["forgetting"][name]) != "embedded":
                outcome["forgetting"][name] = _text_hash(path)
        return {
            "settings": outcome
            | {"roles": self.roles, "dtype": self.precision, "seed": None if self.method.untouched else self.seed},
            "model": {"name": self.model.name, "attention": self.model.attention} | self.model.identity(),
            "data": self.data.outcome() | {"sha256": data.load(self.data)[1]},
            "environment": fingerprint(self.device, self.threads),
            "repeat": self.repeat,
        }

    def run_id(self) -> str:
        """The id of this run's record."""
        return run_id(self.method.name if self.trial is None else f"{TRIAL}{self.method.name}", self.key())


def _text_hash(path: str) -> str:
    import hashlib

    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def key_of(settings: LmEvalSettings) -> dict[str, Any]:
    """What of these settings can change the outcome: names, number, version, and the task files' content."""
    from importlib.metadata import version

    from harness.models import hash_folder

    files = hash_folder(Path(settings.path)) if settings.path else None
    key = {"tasks": settings.tasks, "limit": settings.limit, "files": files, "version": version("lm_eval")}
    # Runs of before these were settings did without.
    asked = {"num_fewshot": settings.num_fewshot, "apply_chat_template": settings.apply_chat_template}
    return key | {name: value for name, value in asked.items() if value}
