"""`evaluate.load("harness/metrics/modules/calibration.py")`."""

from harness.metrics.modules import _base


class Calibration(_base.Family):
    """harness.metrics.calibration."""

    family = "calibration"
