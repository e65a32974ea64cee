"""`evaluate.load("harness/metrics/modules/cider.py")`."""

from harness.metrics.modules import _base


class Cider(_base.Family):
    """harness.metrics.cider."""

    family = "cider"
