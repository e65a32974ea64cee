"""Hydra's configuration from overrides, and the message where it cannot be composed."""

from __future__ import annotations

import re

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from harness.config.run_settings import RunSettings
from harness.config.validate import leaves, settings_from
from harness.errors import UserError, first_line, nearest, nearest_key
from harness.places import CONF

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


def composed(overrides: list[str]) -> DictConfig:
    """The configuration that overrides on the command line give. Raises UserError."""
    try:
        with initialize_config_dir(str(CONF), version_base=None):
            return compose("config", overrides)
    except HydraException as error:
        raise explain(error, overrides) from None
    except ValueError as error:  # of its grammar: no name in front of `=`, a number of thousands of digits
        raise UserError(f"{' '.join(overrides)}: cannot be read ({first_line(error)})") from None


def compose_settings(overrides: list[str]) -> RunSettings:
    """The typed settings that overrides on the command line give. Raises UserError."""
    return settings_from(composed(overrides))


def known_keys(overrides: list[str]) -> list[str]:
    """Every dotted key of the configuration that the overrides compose, or of the default one."""
    if GlobalHydra.instance().is_initialized():
        GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base=None):
        try:
            config = compose("config", overrides)
        except HydraException:
            config = compose("config")
    return leaves(OmegaConf.to_container(config, resolve=False))


def explain(error: HydraException, overrides: list[str]) -> UserError:
    """What Hydra could not compose, in one line with the remedy."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if group == "hydra/launcher" and choice in LAUNCHERS:
            return UserError(f"{group}={choice}: {EXTRA}")
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
