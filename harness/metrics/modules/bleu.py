"""`evaluate.load("harness/metrics/modules/bleu.py")`."""

from harness.metrics.modules import _base


class Bleu(_base.Family):
    """harness.metrics.bleu."""

    family = "bleu"
