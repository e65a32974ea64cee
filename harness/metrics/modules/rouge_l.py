"""`evaluate.load("harness/metrics/modules/rouge_l.py")`."""

from harness.metrics.modules import _base


class RougeL(_base.Family):
    """harness.metrics.rouge_l."""

    family = "rouge_l"
