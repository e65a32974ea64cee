"""Several tasks trained on together (multi-task instruction fine-tuning), each scored by itself."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, InstanceOf

from harness import data
from harness.data import Example, Source, Splits, Templates
from harness.errors import UserError


class Mix(Source):
    """Tasks by name, with the weights by which training examples are drawn from them."""

    prompt: Templates = ""
    """Not used: each task has its own."""
    metrics: tuple[str, ...] = Field(default=(), strict=False)
    """Not used: each task has its own."""
    tasks: dict[str, InstanceOf[Source]]
    task_weights: dict[str, float]
    """In proportion to each other; 1 for a task that is not named."""
    trained: tuple[str, ...] | None = Field(default=None, strict=False)
    """The tasks that are trained and validated on; None: all."""
    scored: tuple[str, ...] | None = Field(default=None, strict=False)
    """The tasks whose test examples are scored; None: all."""

    mean: tuple[str, ...] = Field(default=(), strict=False)
    """Scores that all scored tasks have, whose mean over the tasks is a score too: `mean/accuracy`."""

    def problems(self) -> list[str]:
        lines = []
        if not self.tasks:
            lines.append("data.tasks: is empty; add one as in +data@data.tasks.NAME=gsm8k")
        for name, task in self.tasks.items():
            lines += [problem.replace("data.", f"data.tasks.{name}.", 1) for problem in task.problems()]
            if task.head_classes is not None:
                lines.append(
                    f"data.tasks.{name}: a mixture has no classification head; use data.tasks.{name}.head=false"
                )
            if isinstance(task, Mix):
                lines.append(f"data.tasks.{name}: is a mixture itself; name its tasks instead")
        for what in ("trained", "scored"):
            named = getattr(self, what)
            if named is not None and (not named or (unknown := [each for each in named if each not in self.tasks])):
                which = f"there is no task {unknown[0]}" if named else "is empty"
                lines.append(f"data.{what}: {which}; choose from: {', '.join(self.tasks)}")
        for name, weight in self.task_weights.items():
            if name not in self.tasks:
                lines.append(f"data.task_weights.{name}: there is no such task; choose from: {', '.join(self.tasks)}")
            if not (math.isfinite(weight) and weight > 0):
                lines.append(f"data.task_weights.{name}={weight}: must be above 0; leave the task out instead")
        return lines

    def load(self) -> Splits:
        by_split: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
        for name, task in self.tasks.items():
            try:
                splits = data.load(task)[0]
            except UserError as error:
                raise UserError(*(f"data.tasks.{name}: {problem}" for problem in error.problems)) from None
            for split, examples in by_split.items():
                if name in self._tasks_of("scored" if split == "test" else "trained"):
                    examples += [replace(example, task=name) for example in getattr(splits, split)]
        return Splits(**{split: tuple(examples) for split, examples in by_split.items()})

    def of(self, example: Example) -> Source:
        if example.task not in self.tasks:
            raise UserError(f"data={self.name}: the input must say which task it belongs to; use a run of one task")
        return self.tasks[example.task]

    def render(self, example: Example) -> str:
        return self.of(example).render(example)

    def families(self) -> set[str]:
        return {family for name in self._tasks_of("scored") for family in self.tasks[name].metrics}

    def means(self) -> tuple[str, ...]:
        return self.mean

    def weights(self) -> dict[str, float]:
        trained = self._tasks_of("trained")
        return {name: self.task_weights.get(name, 1.0) for name in trained}

    def _tasks_of(self, what: Literal["trained", "scored"]) -> list[str]:
        """Names of the tasks that are trained on, or scored, in their order."""
        named = getattr(self, what)
        return [name for name in self.tasks if named is None or name in named]

    def outcome(self) -> dict[str, Any]:
        tasks = {name: task.outcome() for name, task in self.tasks.items()}
        roles = {name: list(named) for name in ("trained", "scored") if (named := getattr(self, name)) is not None}
        roles |= {"mean": list(self.mean)} if self.mean else {}
        return super().outcome() | {"tasks": tasks, "weights": self.weights()} | roles
