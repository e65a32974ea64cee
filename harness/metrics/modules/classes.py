"""`evaluate.load("harness/metrics/modules/classes.py")`."""

from harness.metrics.modules import _base


class Classes(_base.Family):
    """harness.metrics.classes."""

    family = "classes"
