"""`evaluate.load("harness/metrics/modules/nist.py")`."""

from harness.metrics.modules import _base


class Nist(_base.Family):
    """harness.metrics.nist."""

    family = "nist"
