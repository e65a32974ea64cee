"""`evaluate.load("harness/metrics/modules/slots.py")`."""

from harness.metrics.modules import _base


class Slots(_base.Family):
    """harness.metrics.slots."""

    family = "slots"
