"""Typed settings of a run; every problem of a configuration in one error, before anything is loaded."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import PydanticUserError, ValidationError

import harness
from harness.config.contradictions import contradictions
from harness.config.length import with_steps
from harness.config.run_settings import RunSettings
from harness.errors import UserError, first_line, nearest_key, where_raised
from harness.places import own_file
from harness.settings import Settings
from harness.texts import json_object


def settings_from(config: DictConfig, planned: bool = False) -> RunSettings:
    """The typed settings of a composed configuration. `planned`: not to be run, so that neither the device nor weights
    need be there. Raises UserError with every problem at once."""
    config = OmegaConf.masked_copy(config, [str(name) for name in config if name != "hydra"])
    if missing := _missing(config):
        raise UserError(*(f"{key}: is missing; give {key}=…" for key in missing))
    try:
        content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if error.full_key else ""
        raise UserError(f"{where}{first_line(error)}") from None
    assert isinstance(content, dict)
    groups: dict[str, Any] = {str(name): value for name, value in content.items()}
    known = leaves(groups)
    problems: dict[str, str] = {}
    failed = set()
    for name, value in groups.items():
        if isinstance(value, dict) and "_target_" in value:
            before = len(problems)
            groups[name] = _built(value, (name,), known, problems)
            if len(problems) > before:
                failed.add(name)
    try:
        if isinstance(groups.get("train"), dict):
            groups["train"] = with_steps(groups["train"], groups.get("data"))
    except UserError as error:
        raise UserError(*problems.values(), *error.problems) from None
    try:
        settings = RunSettings.model_validate(groups)
    except ValidationError as error:
        problems |= describe(error, (), known, skip=failed)
    if problems:
        # What is taken over from another setting (alpha from rank) is wrong because that one is: one problem, not two.
        own = {place: line for place, line in problems.items() if not _taken_over(config, place)}
        raise UserError(*(own or problems).values())
    if contrary := contradictions(settings, planned):
        raise UserError(*contrary)
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
    except (TypeError, PydanticUserError) as error:  # a class of one's own that lacks what each must have
        where = ".".join((*place, "_target_"))
        problems[where] = f"{where}: {node['_target_']}: is no whole class ({first_line(error)}); complete it"
    return None


def own_class(name: Any) -> type[Settings]:
    """The class of settings that a `_target_` names. Only this project's own: a configuration may come with someone
    else's run, and importing a module runs it. Raises UserError."""
    module, _, last = str(name).rpartition(".")
    if not re.fullmatch(rf"{harness.__name__}(\.[a-z_0-9]+)*", module):
        raise UserError(f"{name}: is no class of the harness; name one, as the files in conf/ do")
    try:
        kind = getattr(import_module(module), last, None)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):  # what it imports is not there
            raise UserError(f"{module}: cannot be imported ({first_line(error)}); install it") from None
        kind = None
    except Exception as error:  # one's own code, which may fail in any way
        raise UserError(f"{module}: cannot be imported ({where_raised(error)}); correct it") from None
    if not (isinstance(kind, type) and issubclass(kind, Settings)):
        raise UserError(f"{name}: there is no such class of settings; name one, as the files in conf/ do")
    if own_file(module) and not own_file(kind.__module__):  # whose code no key would hold
        theirs = f"{kind.__module__}.{kind.__qualname__}"
        raise UserError(f"{name}: is {theirs}; write one of your own there: class {last}({theirs}): …")
    return kind


def _missing(node: DictConfig, place: str = "") -> list[str]:
    """The dotted keys that must be given and are not."""
    places = []
    name: Any  # a verbalizer's may be a number
    for name in node:
        if OmegaConf.is_missing(node, name):
            places.append(f"{place}{name}")
        elif not OmegaConf.is_interpolation(node, name) and isinstance(node[name], DictConfig):
            places += _missing(node[name], f"{place}{name}.")
    return places


def _taken_over(config: DictConfig, place: str) -> bool:
    """The value at this dotted place is an interpolation of another one."""
    group, _, name = place.rpartition(".")
    node = OmegaConf.select(config, group) if group else config
    return isinstance(node, DictConfig) and OmegaConf.is_interpolation(node, name)


def describe(
    error: ValidationError, prefix: tuple[str, ...], known: list[str], skip: set[str] | frozenset[str] = frozenset()
) -> dict[str, str]:
    """For each problem that pydantic found, by place: where, what, and the nearest name of the keys that there are."""
    problems = [(".".join((*prefix, *map(str, each["loc"]))), each) for each in error.errors()]
    unknown = {where for where, each in problems if each["type"] == "extra_forbidden"}
    known = [key for key in known if key not in unknown]
    lines = {}
    for where, each in problems:
        if where.partition(".")[0] in skip:
            continue
        if where in unknown:
            lines[where] = f"{where}: unknown key; {nearest_key(where, known)}"
        elif each["type"] == "missing":
            lines[where] = f"{where}: is missing; give {where}=…"
        elif each["type"] == "is_instance_of" and isinstance(each["input"], dict):
            lines[where] = f"{where}={each['input']}: names no class; its file needs a line `_target_: harness.…`"
        else:
            message = each["msg"].removeprefix("Value error, ")
            whole = each["type"] == "value_error" and isinstance(each["input"], dict)  # the message names what is wrong
            given = "" if whole else f"={each['input']}"
            one = each["type"] in ("list_type", "tuple_type") and isinstance(each["input"], str)
            remedy = f"; write {where}=[{each['input']}]" if one else ""
            lines[where] = f"{where}{given}: {message[0].lower()}{message[1:]}{remedy}"
    return lines


def leaves(node: Any, place: str = "") -> list[str]:
    """The dotted keys of a nested dictionary, `_target_` aside."""
    if not isinstance(node, dict):
        return [place]
    keys = [key for name, child in node.items() for key in leaves(child, f"{place}.{name}" if place else str(name))]
    return [key for key in keys if not key.endswith("_target_")]


def saved_settings(path: Path) -> RunSettings:
    """The typed settings that a run wrote into `path`. Raises UserError, OSError."""
    if not path.exists():
        raise FileNotFoundError(path)
    content = json_object(path)
    try:
        return settings_from(OmegaConf.create(content))
    except (OmegaConfBaseException, RecursionError) as error:
        raise UserError(f"{path}: is no configuration ({first_line(error)})") from None
