"""The base class of every group of settings."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.texts import half_pair

if TYPE_CHECKING:
    pass


Name = Annotated[str, Field(min_length=1)]
"""A text that stands for something: an empty one is what a script gives whose variable has no value."""


class Settings(BaseModel):
    """Typed, frozen settings in which an unknown key or a wrong type is an error.

    Every `_target_` of `conf/` is a subclass, so its signature is checked before anything is loaded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _can_be_written(cls, value: Any) -> Any:
        """A command line may hold bytes that are no text, a YAML file half a surrogate pair."""
        if problem := half_pair(value):
            raise ValueError(problem)
        return value


Positive = Annotated[int, Field(ge=1)]
IFEVAL_NEEDS = ("langdetect", "immutabledict")
"""What IFEval imports, of lm-evaluation-harness's extra `ifeval`, that nothing else here brings."""


MOST_EPOCHS = 1_000_000
"""More is a slip, of which no number of steps is made."""


class Train(Settings):
    """How training goes; conf/config.yaml says what each means."""

    steps: Positive
    epochs: Annotated[float, Field(gt=0, le=MOST_EPOCHS)] | None = None  # `steps` follows from it
    batch_size: Positive
    accumulation: Positive
    gradient_checkpointing: bool = False  # configurations that earlier runs have kept do without
    optimizer: Literal["adamw", "paged_adamw", "adamw8bit", "paged_adamw8bit"]
    schedule: Literal["linear", "cosine", "constant"]
    warmup_steps: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    clip_norm: Annotated[float, Field(gt=0)] | None
    max_length: Positive
    validate_every: Positive | None
    validation_examples: Positive
    checkpoint_every: Positive
    time_limit: Annotated[float, Field(gt=0)] | None


class Eval(Settings):
    """How the trained model is scored."""

    test_examples: Positive | None
    batch_size: Positive
    max_new_tokens: Positive
    beams: Positive
    length_penalty: Annotated[float, Field(ge=-100, le=100)]
    no_repeat_ngram: Annotated[int, Field(ge=0)]
    typos: Annotated[float, Field(ge=0, le=1)]
    typo_seed: Annotated[int, Field(ge=0)]
    paraphrases: list[str]
    score: Literal["last", "best"]
    keep_texts: bool = False
    run_code: bool = False


class ForgettingSettings(Settings):
    """What is measured of text and tasks that training does not touch."""

    text: Name
    documents: Literal["one", "wikitext"]
    max_tokens: Positive | None
    window: Annotated[int, Field(ge=2)]
    stride: Positive
    compare_tokens: Positive
    panel: Name


class Tracker(Settings):
    """Where a run is logged besides its record."""

    kind: Literal["wandb", "mlflow", "trackio", "none"]
    mode: Literal["auto", "online", "offline"]
    project: Name
    entity: Name | None = None
    group: Name | None = None
    tags: list[Name] = []
    name: Name | None = None
    artifact: bool = False


class InferenceSettings(Settings):
    """How latency is measured; conf/config.yaml says what each setting means."""

    batch_sizes: list[Annotated[int, Field(ge=1)]]
    prompt_tokens: Annotated[int, Field(ge=1)]
    new_tokens: Annotated[int, Field(ge=2)]
    repeats: Annotated[int, Field(ge=1)]
    seconds: Annotated[float, Field(gt=0)]

    @field_validator("batch_sizes")
    @classmethod
    def _each_once(cls, sizes: list[int]) -> list[int]:
        if len(set(sizes)) < len(sizes):
            raise ValueError("names a batch size twice; name each once")
        return sizes


class Tune(Settings):
    """How the rows of a sweep are tuned; conf/tune/lr.yaml says what each setting means."""

    setting: Name | None = None
    points: Annotated[int, Field(ge=2, le=100)] = 12
    per_decade: Annotated[int, Field(ge=1, le=100)] = 4
    by: Name = "val_loss"
    also: dict[Name, list[Any]] = {}
    sampler: Literal["bracket", "halving", "grid", "tpe"] = "bracket"
    rungs: list[Annotated[float, Field(gt=0, lt=1)]] | None = None
    factor: Annotated[int, Field(ge=2)] = 2
    extend: Annotated[int, Field(ge=0, le=100)] = 4
    trials: Positive = 12
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = [1000]
    default: bool = True

    @property
    def looks(self) -> list[float]:
        """Shares of the training after which trials are compared: those given, or the sampler's own (what others choose
        and cost is in docs/results/fair.md)."""
        return {"bracket": [0.5], "halving": [0.2, 0.5]}.get(self.sampler, []) if self.rungs is None else self.rungs

    @field_validator("setting", "also")
    @classmethod
    def _of_the_method(cls, value: Any) -> Any:
        """Of what a row is compared by, such as its data, steps and seeds, none may be chosen for it."""
        names = [value] if isinstance(value, str) else list(value or ())
        if others := [name for name in names if not name.startswith("method.")]:
            raise ValueError(f"{others[0]} is no setting of the method, and nothing else is tuned; method.lr is one")
        return value

    @field_validator("also", mode="before")
    @classmethod
    def _none_is_nothing(cls, value: Any) -> Any:
        return {} if value is None else value  # Hydra puts no names into a mapping that has none

    @model_validator(mode="after")
    def _makes_sense(self) -> Tune:
        if self.sampler == "halving" and self.points < self.factor:
            raise ValueError(f"halves {self.points} points by {self.factor}: give points={self.factor} or more")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("needs seeds, each once")
        if self.setting in self.also:
            raise ValueError(f"also.{self.setting}: is tune.setting, whose values are the grid's; leave it out of also")
        if empty := [name for name, values in self.also.items() if not values]:
            raise ValueError(f"also.{empty[0]} has no values; name some, or leave it out")
        return self


class LmEvalSettings(Settings):
    """Which tasks, and how they are asked; conf/lm_eval/none.yaml says what each setting means."""

    tasks: list[Name]
    path: Name | None
    limit: Annotated[int, Field(ge=1)] | None
    num_fewshot: dict[Name, Annotated[int, Field(ge=0)]] | None = None  # earlier runs' configurations do without both
    apply_chat_template: Literal[True, False, "auto"] = False

    @field_validator("num_fewshot", mode="before")
    @classmethod
    def _by_task(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, dict):
            raise ValueError("must name tasks and groups, such as {hellaswag: 10}")
        return value

    def problems(self) -> list[str]:
        """What can be told before anything is loaded, a line each."""
        if self.tasks and importlib.util.find_spec("lm_eval") is None:
            return ["lm_eval.tasks: needs the extra lm-eval; pip install 'peft-harness[lm-eval]'"]
        if self.path is not None and not os.path.isdir(self.path):
            return [f"lm_eval.path={self.path}: no such folder; it must hold the tasks' YAML files"]
        lacking = [name for name in IFEVAL_NEEDS if importlib.util.find_spec(name) is None]
        if lacking and (task := next((task for task in self.tasks if "ifeval" in task), None)):
            return [f"lm_eval.tasks: {task}: needs {' and '.join(lacking)}; pip install {' '.join(lacking)}"]
        return []
