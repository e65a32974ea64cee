"""The section of a record on tasks of lm-evaluation-harness."""

from __future__ import annotations

from harness.results.sections import Better, Section


class LmEvalTask(Section):
    """A task of lm-evaluation-harness, or a group of them, under the untouched base and after training. What is null
    without a reason beside it was not kept by earlier versions."""

    examples: int
    before: dict[str, float]
    """By that library's name of a metric and its filter (`acc,none`), as it aggregates them."""
    after: dict[str, float]
    right: str | None
    """The metric by which an example is right or wrong; None where no metric says so."""
    lost: int | None
    """Examples that were right before and wrong after."""
    better: dict[str, Better] | None = None
    """By metric, which values are better, as the task's own settings say."""
    gained: int | None
    """Examples that were wrong before and right after."""
    num_fewshot: int | None = None
    """Solved examples in front of each; null too where a group's tasks differ in it."""
    chat_template: bool | None = None
    """It was asked by the model's chat template, each solved example two turns of it."""
    cut: int | None = None
    """Examples that were too long for the model and lost their beginning."""
    tasks: dict[str, LmEvalTask] | None = None
    """Those of a group, whose counts are the sums of theirs; null of a task."""
