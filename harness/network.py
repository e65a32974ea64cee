"""Whether the hub answers, asked once and soon: its libraries try each file six times, which without a network takes
minutes and fills the screen."""

from __future__ import annotations

import functools
import os
import sys

from harness.errors import first_line

SECONDS = 5.0
"""For a connection, and for the first words of an answer."""


@functools.cache
def unreachable() -> str | None:
    """Why the hub cannot be reached, or None. Where it cannot, this process and those it starts use the libraries'
    cache alone, as HF_HUB_OFFLINE=1 has them do; where that is set, nothing is asked."""
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
        return None
    except Exception as error:  # of the libraries that speak HTTP, which change: no answer, whatever the reason
        why = first_line(error).strip("'")
    _offline()
    return f"{constants.ENDPOINT} cannot be reached ({why})"


def _offline() -> None:
    """Have the libraries use their caches alone, those that are loaded already too."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name, attribute in (("huggingface_hub.constants", "HF_HUB_OFFLINE"), ("datasets.config", "HF_HUB_OFFLINE")):
        if name in sys.modules:
            setattr(sys.modules[name], attribute, True)
