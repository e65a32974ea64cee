"""Typed settings of a run; every problem of a configuration in one error, before anything is loaded."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, InstanceOf, ValidationError

import harness
from harness import data
from harness.contradictions import contradictions
from harness.data import Source
from harness.environment import fingerprint, resolve_dtype
from harness.errors import UserError, first_line, nearest, nearest_key
from harness.inference import InferenceSettings
from harness.lm_eval_tasks import LmEvalSettings, key_of
from harness.methods import Method
from harness.models import BaseModelSource
from harness.quantization import Quantization
from harness.results import run_id
from harness.settings import Settings
from harness.targets import Targets
from harness.units import Budget

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
SWEEPS = ROOT / "sweeps"

GIVEN = "HARNESS_GIVEN"
"""Environment variable in which the command line hands a sweep's overrides to the sweeper, as a JSON list."""

Positive = Annotated[int, Field(ge=1)]


class Train(Settings):
    """How training goes; conf/config.yaml says what each means."""

    steps: Positive
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
    length_penalty: float
    no_repeat_ngram: Annotated[int, Field(ge=0)]
    typos: Annotated[float, Field(ge=0, le=1)]
    typo_seed: Annotated[int, Field(ge=0)]
    paraphrases: list[str]
    score: Literal["last", "best"]


class ForgettingSettings(Settings):
    """What is measured of text and tasks that training does not touch."""

    text: str
    documents: Literal["one", "wikitext"]
    max_tokens: Positive | None
    window: Annotated[int, Field(ge=2)]
    stride: Positive
    compare_tokens: Positive
    panel: str


class Tracker(Settings):
    """Where a run is logged besides its record."""

    kind: Literal["wandb", "none"]
    mode: Literal["auto", "online", "offline"]
    project: str


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
    threads: Positive | None
    results: str
    keep_model: bool
    budget: Budget | None = None

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
        for name in ("checkpoint_every", "time_limit"):
            del outcome["train"][name]
        if not self.train.gradient_checkpointing:
            del outcome["train"]["gradient_checkpointing"]  # runs of before it was a setting did without
        if self.keep_model:
            outcome["keep_model"] = True  # the model is something that a finished run has to have
        if self.targets.modules is not None:
            outcome["modules"] = self.targets.modules
        if not self.method.trains:
            # Nothing of training reaches the untouched base but the validation examples and their longest length.
            outcome["train"] = {n: outcome["train"][n] for n in ("batch_size", "validation_examples", "max_length")}
        if self.lm_eval.tasks:
            outcome["lm_eval"] = key_of(self.lm_eval)
        for name in ("text", "panel"):
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
        return run_id(self.method.name, self.key())


def settings_from(config: DictConfig, planned: bool = False) -> RunSettings:
    """The typed settings of a composed configuration. `planned`: not to be run, so that neither the device nor weights
    need be there. Raises UserError with every problem at once."""
    config = OmegaConf.masked_copy(config, [str(name) for name in config if name != "hydra"])
    if missing := _missing(config):
        raise UserError(*(f"{key}: is missing; give {key}=…" for key in missing))
    try:
        content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(first_line(error)) from None
    assert isinstance(content, dict)
    groups: dict[str, Any] = {str(name): value for name, value in content.items()}
    known = _leaves(groups)
    problems: dict[str, str] = {}
    failed = set()
    for name, value in groups.items():
        if isinstance(value, dict) and "_target_" in value:
            before = len(problems)
            groups[name] = _built(value, (name,), known, problems)
            if len(problems) > before:
                failed.add(name)
    try:
        settings = RunSettings.model_validate(groups)
    except ValidationError as error:
        problems |= describe(error, (), known, skip=failed)
    if problems:
        # What is taken over from another setting (alpha from rank) is wrong because that one is: one problem, not two.
        own = {place: line for place, line in problems.items() if not _taken_over(config, place)}
        raise UserError(*(own or problems).values())
    if found := contradictions(settings, planned):
        raise UserError(*found)
    return settings


def _built(node: dict[str, Any], place: tuple[str, ...], known: list[str], problems: dict[str, str]) -> Any:
    """The node, or the object that its `_target_` names, with those of the nodes inside it; adds to `problems`."""
    before = len(problems)
    content = {
        name: _built(value, (*place, str(name)), known, problems) if isinstance(value, dict) else value
        for name, value in node.items()
        if name != "_target_"
    }
    if "_target_" not in node or len(problems) > before:
        return content
    try:
        return own_class(node["_target_"]).model_validate(content)
    except ValidationError as error:
        problems |= describe(error, place, known)
    except UserError as error:
        where = ".".join((*place, "_target_"))
        problems[where] = f"{where}: {error}"
    return None


def own_class(name: Any) -> type[Settings]:
    """The class of settings that a `_target_` names. Only this project's own: a configuration may come with someone
    else's run, and importing a module runs it. Raises UserError."""
    module, _, last = str(name).rpartition(".")
    if not re.fullmatch(rf"{harness.__name__}(\.[a-z_0-9]+)*", module):
        raise UserError(f"{name}: is no class of the harness; name one, as the files in conf/ do")
    try:
        found = getattr(import_module(module), last, None)
    except ImportError:
        found = None
    if not (isinstance(found, type) and issubclass(found, Settings)):
        raise UserError(f"{name}: there is no such class of settings; name one, as the files in conf/ do")
    return found


def _missing(node: DictConfig, place: str = "") -> list[str]:
    """The dotted keys that must be given and are not."""
    found = []
    name: Any  # a verbalizer's may be a number
    for name in node:
        if OmegaConf.is_missing(node, name):
            found.append(f"{place}{name}")
        elif not OmegaConf.is_interpolation(node, name) and isinstance(node[name], DictConfig):
            found += _missing(node[name], f"{place}{name}.")
    return found


def _taken_over(config: DictConfig, place: str) -> bool:
    """The value at this dotted place is an interpolation of another one."""
    group, _, name = place.rpartition(".")
    node = OmegaConf.select(config, group) if group else config
    return isinstance(node, DictConfig) and OmegaConf.is_interpolation(node, name)


def describe(
    error: ValidationError, prefix: tuple[str, ...], known: list[str], skip: set[str] | frozenset[str] = frozenset()
) -> dict[str, str]:
    """For each problem that pydantic found, by place: where, what, and the nearest name of the keys that there are."""
    found = [(".".join((*prefix, *map(str, each["loc"]))), each) for each in error.errors()]
    unknown = {where for where, each in found if each["type"] == "extra_forbidden"}
    known = [key for key in known if key not in unknown]
    lines = {}
    for where, each in found:
        if where.partition(".")[0] in skip:
            continue
        if where in unknown:
            lines[where] = f"{where}: unknown key; {nearest_key(where, known)}"
        elif each["type"] == "missing":
            lines[where] = f"{where}: is missing; give {where}=…"
        else:
            said = each["msg"].removeprefix("Value error, ")
            lines[where] = f"{where}={each['input']}: {said[0].lower()}{said[1:]}"
    return lines


def _text_hash(path: str) -> str:
    import hashlib

    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def composed(overrides: list[str]) -> DictConfig:
    """The configuration that overrides on the command line give. Raises UserError."""
    try:
        with initialize_config_dir(str(CONF), version_base=None):
            return compose("config", overrides)
    except HydraException as error:
        raise explain(error, overrides) from None


def compose_settings(overrides: list[str]) -> RunSettings:
    """The typed settings that overrides on the command line give. Raises UserError."""
    return settings_from(composed(overrides))


def points(arguments: list[str], many: bool) -> list[list[str]]:
    """The overrides of each point that arguments ask for, as a sweep where `many`. Raises UserError."""
    if not many:
        return [arguments]
    from hydra_plugins.harness_sweeper.sweeper import HarnessSweeperConf, asked_for, expand

    given = [a for a in arguments if not a.startswith("hydra.")]
    limits = [a.partition("=")[2] for a in arguments if a.startswith("hydra.sweeper.max_points=")]
    limit = int(limits[-1]) if limits and limits[-1].isdigit() else HarnessSweeperConf.max_points
    file, rest = asked_for(given)
    try:
        with initialize_config_dir(str(CONF), version_base=None):
            rows = expand(file, rest, GlobalHydra.instance().config_loader(), limit)
    except HydraException as error:
        raise explain(error, rest) from None
    return [list(row) for row in rows]


def saved_settings(path: Path) -> RunSettings:
    """The typed settings that a run wrote into `path`. Raises UserError, OSError."""
    return settings_from(OmegaConf.create(json.loads(path.read_text(encoding="utf-8"))))


def known_keys(overrides: list[str]) -> list[str]:
    """Every dotted key of the configuration that the overrides compose, or of the default one."""
    if GlobalHydra.instance().is_initialized():
        GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base=None):
        try:
            config = compose("config", overrides)
        except HydraException:
            config = compose("config")
    return _leaves(OmegaConf.to_container(config, resolve=False))


def _leaves(node: Any, place: str = "") -> list[str]:
    """The dotted keys of a nested dictionary, `_target_` aside."""
    if not isinstance(node, dict):
        return [place]
    found = [key for name, child in node.items() for key in _leaves(child, f"{place}.{name}" if place else str(name))]
    return [key for key in found if not key.endswith("_target_")]


def explain(error: HydraException, overrides: list[str]) -> UserError:
    """What Hydra could not compose, in one line with the remedy."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return UserError(f"{group}={choice}: there is none; {nearest(choice, list(error.options or []))}")
    bad = re.search(r"Could not override '([^']+)'", str(error))
    if isinstance(error, ConfigCompositionException) and bad:
        key = bad[1]
        rest = [o for o in overrides if o.split("=")[0].lstrip("+~") != key]
        group = key.partition(".")[0]
        known = known_keys([o for o in rest if "=" in o and "." not in o.split("=")[0]])
        chosen = next((o.split("=", 1)[1] for o in rest if o.startswith(f"{group}=")), None)
        context = f"{group}={chosen} has no such setting" if chosen and "." in key else "unknown key"
        return UserError(f"{key}: {context}; {nearest_key(key, known)}")
    if isinstance(error, OverrideParseException):
        why = first_line(error)
        return UserError(f"{error.override}: cannot be read ({why}); it must be key=value in Hydra's grammar")
    if ambiguous := re.match(r"Ambiguous value for argument '(\+*([^'=]+)[^']*)'", str(error)):
        if (key := ambiguous[2]) not in (known := known_keys([])) and not (CONF / key).is_dir():
            return UserError(f"{key}: unknown key; {nearest_key(key, known)}")
        return UserError(f"{ambiguous[1]}: gives several values; run them as a sweep with -m, or quote a list: [a,b]")
    return UserError(first_line(error))


def sweep_names() -> list[str]:
    """The sweeps that exist: files under sweeps/."""
    found = (path.relative_to(SWEEPS).with_suffix("").as_posix() for path in SWEEPS.rglob("*.yaml"))
    return sorted(name for name in found if not name.startswith("wandb/"))
