"""`evaluate.load("harness/metrics/modules/questions.py")`."""

from harness.metrics.modules import _base


class Questions(_base.Family):
    """harness.metrics.questions."""

    family = "questions"
