"""The problems of a configuration."""

from __future__ import annotations

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from harness.config.compose import explain
from harness.config.validate import settings_from
from harness.errors import UserError
from harness.places import CONF


def problems(*overrides: str) -> tuple[str, ...]:
    """What is said about these overrides before anything is loaded."""
    try:
        with initialize_config_dir(str(CONF), version_base=None):
            config = compose("config", list(overrides))
        settings_from(config).run_id()
    except UserError as error:
        return error.problems
    except HydraException as error:
        return explain(error, list(overrides)).problems
    return ()
