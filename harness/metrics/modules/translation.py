"""`evaluate.load("harness/metrics/modules/translation.py")`."""

from harness.metrics.modules import _base


class Translation(_base.Family):
    """harness.metrics.translation."""

    family = "translation"
