"""`evaluate.load("harness/metrics/modules/meteor.py")`."""

from harness.metrics.modules import _base


class Meteor(_base.Family):
    """harness.metrics.meteor."""

    family = "meteor"
