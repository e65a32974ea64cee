"""`evaluate.load("harness/metrics/modules/correlation.py")`."""

from harness.metrics.modules import _base


class Correlation(_base.Family):
    """harness.metrics.correlation."""

    family = "correlation"
