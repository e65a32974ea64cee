"""`evaluate.load("harness/metrics/modules/surface.py")`."""

from harness.metrics.modules import _base


class Surface(_base.Family):
    """harness.metrics.surface."""

    family = "surface"
