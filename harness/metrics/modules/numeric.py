"""`evaluate.load("harness/metrics/modules/numeric.py")`."""

from harness.metrics.modules import _base


class Numeric(_base.Family):
    """harness.metrics.numeric."""

    family = "numeric"
