"""`evaluate.load("harness/metrics/modules/rouge.py")`."""

from harness.metrics.modules import _base


class Rouge(_base.Family):
    """harness.metrics.rouge."""

    family = "rouge"
