"""Hydra's configuration from overrides, and the message where it cannot be composed."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, QuotedString
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from harness.config.run_settings import RunSettings
from harness.config.validate import leaves, settings_from
from harness.errors import UserError, first_line, nearest, nearest_key
from harness.places import CONF, own_folders

LAUNCHERS = {
    "joblib": "joblib",
    "submitit_local": "submitit",
    "submitit_slurm": "submitit",
    "ray": "ray",
    "ray_aws": "ray",
}
"""Launchers of Hydra's own packages, and the module that each needs."""
EXTRA = "needs the extra cluster; pip install 'peft-harness[cluster]'"
"""What brings them."""
_composing = threading.RLock()
DAMAGED = (yaml.YAMLError, UnicodeDecodeError, RecursionError)
"""What Hydra raises for a file that it cannot read."""
LEXER = "LexerNoViableAltException: "
"""How Hydra begins what it says of a letter that its grammar has not."""


@contextmanager
def composing() -> Iterator[None]:
    """Hydra with the configurations of the project. A process has one Hydra: one thread at a time, and what was
    there before is there again."""
    with _composing:
        there = GlobalHydra.instance()
        before, there.hydra = there.hydra, None
        try:
            with initialize_config_dir(str(CONF), version_base=None):
                yield
        finally:
            GlobalHydra.instance().hydra = before


def composed(overrides: list[str]) -> DictConfig:
    """The configuration that overrides on the command line give. Raises UserError."""
    try:
        refuse_no_choice(OverridesParser.create().parse_overrides(overrides))
        with composing():
            return compose("config", overrides)
    except HydraException as error:
        raise explain(error, overrides) from None
    except DAMAGED as error:
        raise damaged(error) from None
    except UserError:
        raise
    except ValueError as error:  # of its grammar: no name in front of `=`, a number of thousands of digits
        raise UserError(f"{' '.join(overrides)}: cannot be read ({first_line(error)})") from None


def compose_settings(overrides: list[str]) -> RunSettings:
    """The typed settings that overrides on the command line give. Raises UserError."""
    return settings_from(composed(overrides))


def refuse_no_choice(overrides: Sequence[Override]) -> None:
    """Raise UserError where a group is given something else than a name, such as null: Hydra fails on it in a way of
    its own."""
    for each in overrides:
        group = each.get_key_element().lstrip("+").partition("@")[0]
        of_hydra = group.partition("/")[0] == "hydra"
        if each.is_delete() or not group or "." in group or not (of_hydra or (CONF / group).is_dir()):
            continue
        value = each.value()
        values = value.list if isinstance(value, ChoiceSweep) else [value]
        if not all(isinstance(value, str | list | QuotedString | Glob) for value in values):
            names = [] if of_hydra else _files(group)
            remedy = "leave it out" if of_hydra else nearest("none" if "none" in names else "", names)
            raise UserError(f"{each.input_line}: is no name; {remedy}")


def known_keys(overrides: Sequence[str]) -> list[str]:
    """Every dotted key of the configuration that the overrides compose, or of the default one."""
    with composing():
        try:
            config = compose("config", list(overrides))
        except HydraException:
            config = compose("config")
    return leaves(OmegaConf.to_container(config, resolve=False))


def damaged(error: Exception) -> UserError:
    """What is wrong with a file that Hydra read and that is no YAML, or without an end."""
    if isinstance(error, RecursionError):
        return UserError(f"{', '.join(map(str, own_folders()))}: a file names itself among its defaults; correct it")
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}, line {mark.line + 1}" if mark else ", ".join(map(str, own_folders()))
    what = getattr(error, "problem", None) or first_line(error)
    return UserError(f"{where}: is no YAML ({what}); correct the file")


def explain(error: HydraException, overrides: list[str]) -> UserError:
    """What Hydra could not compose, in one line with the remedy."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if group == "hydra/launcher" and choice in LAUNCHERS:
            return UserError(f"{group}={choice}: {EXTRA}")
        return UserError(f"{group}={choice}: there is none; {nearest(choice, list(error.options or _files(group)))}")
    bad = re.search(r"Could not override '([^']+)'", str(error))
    if isinstance(error, ConfigCompositionException) and bad:
        key = bad[1]
        rest = [o for o in overrides if o.split("=")[0].lstrip("+~") != key]
        group = key.partition(".")[0]
        known = known_keys(choices(rest))
        chosen = next((o.split("=", 1)[1] for o in rest if o.startswith(f"{group}=")), None)
        context = f"{group}={chosen} has no such setting" if chosen and "." in key else "unknown key"
        return UserError(f"{key}: {context}; {nearest_key(key, known)}")
    if isinstance(error, OverrideParseException):
        return UserError(_unreadable(str(error.override), str(error)))
    if ambiguous := re.match(r"Ambiguous value for argument '(\+*([^'=]+).*)'$", str(error), re.MULTILINE):
        several, key = ambiguous.groups()
        if key not in (known := known_keys(choices(overrides))) and not (CONF / key).is_dir():
            return UserError(f"{key}: unknown key; {nearest_key(key, known)}")
        remedy = f"""run them as a sweep with -m, or quote a list: [a,b], and a text: "{key}='…'\""""
        return UserError(f"{several}: gives several values; {remedy}")
    return UserError(first_line(error))


def _files(group: str) -> list[str]:
    """The choices of a group: Hydra does not tell them of one that is named in a file's defaults."""
    return [path.stem for folder in (CONF, *own_folders()) for path in (folder / group).glob("*.yaml")]


def choices(overrides: Iterable[str]) -> tuple[str, ...]:
    """Those of the overrides that choose a file of a group, or add one (`+data@data.tasks.more=…`), or set a key of no
    group: by them it is known which settings there are."""
    return tuple(each for each in overrides if "." not in (key := each.partition("=")[0]) or "@" in key)


def _unreadable(override: str, said: str) -> str:
    """What is said of an override that is not in Hydra's grammar, which of letters has the unaccented alone unless they
    stand in quotes."""
    key, _, value = override.partition("=")
    if value.startswith("~"):
        return f"{override}: ~ is nobody's home here; give {key}={os.path.expanduser(value)}"
    why, *marked = said.splitlines()
    if why.startswith(LEXER) and marked:  # it repeats the override, with a mark below the letter
        why = f"from {override[len(marked[0]) - len(LEXER) - 1 :]} on"
    quotes = "close the quotes" if value[:1] in {"'", '"'} else f"""a text of other signs is written "{key}='…'\""""
    return f"{override}: cannot be read ({why}); it must be key=value in Hydra's grammar; {quotes}"
