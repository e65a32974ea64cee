"""What libraries warn of, kept out of a command's own lines. In a run's process it goes to the run's log."""

from __future__ import annotations

import logging
import os
import sys
import warnings

LOGGERS = ("bitsandbytes", "datasets", "huggingface_hub", "transformers")
"""Of libraries that tell through `logging` what they miss, ignore or try again."""


_filters: list[object] = []


def quiet() -> None:
    """Have this process say nothing of it, but for what `python -W` or PYTHONWARNINGS asks for."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # which transformers sets its logger by, when imported
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    if not sys.warnoptions:
        _filters[:] = warnings.filters
        warnings.simplefilter("ignore")


def loud() -> None:
    """Have it said again, as before `quiet`."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    if not sys.warnoptions:
        warnings.filters[:] = _filters  # type: ignore[index]
