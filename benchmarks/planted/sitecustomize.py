"""Regressions planted in the harness while it runs: with this folder on PYTHONPATH, `HARNESS_PLANT` names the changes.

step     each step works for a quarter longer
memory   training holds `HARNESS_PLANT_BYTES` more
quality  decoding leaves out the first word of every seventh answer
"""

from __future__ import annotations

import dataclasses
import importlib.abc
import importlib.machinery
import os
import sys
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

PLANTED = os.environ.get("HARNESS_PLANT", "").split(",")
SHARE = 0.25
"""By which a step gets longer."""
EVERY = 7
"""One answer in as many loses its first word."""


def plant_in_train(module: Any) -> None:
    """Change harness.training.trainer. What each run's process would import is imported once, before it is forked."""
    import transformers.optimization  # noqa: F401

    from harness.metrics import compute

    compute(["bleu", "rouge", "slots"], ["a b"], [["a b"]], ["name[a]"])
    trainer = module.Trainer
    if "memory" in PLANTED:
        run = trainer.run

        def holding(self: Any, *arguments: Any) -> Any:
            held = module.torch.ones(int(os.environ["HARNESS_PLANT_BYTES"]) // 4)
            state = run(self, *arguments)
            del held
            return state

        trainer.run = holding
    if "step" in PLANTED:
        step, began = trainer._step, [0.0]

        def slow(self: Any, group: Any) -> Any:
            began[0] = time.perf_counter()
            end, self.optimizer.zero_grad = self.optimizer.zero_grad, working(self.optimizer.zero_grad)
            try:
                return step(self, group)
            finally:
                self.optimizer.zero_grad = end

        def working(zero_grad: Any) -> Any:
            def work(**arguments: Any) -> None:
                zero_grad(**arguments)
                until = time.perf_counter() + SHARE * (time.perf_counter() - began[0])
                while time.perf_counter() < until:
                    pass

            return work

        trainer._step = slow


def plant_in_task(module: Any) -> None:
    """Change harness.evaluation.predict."""
    if "quality" in PLANTED:
        write_answers = module.write_answers

        def short(*arguments: Any) -> list[Any]:
            answers = write_answers(*arguments)
            return [
                each if i % EVERY else dataclasses.replace(each, text=each.text.partition(" ")[2])
                for i, each in enumerate(answers)
            ]

        module.write_answers = short


PLANTS = {"harness.training.trainer": plant_in_train, "harness.evaluation.predict": plant_in_task}


class Planter(importlib.abc.MetaPathFinder):
    """Finds the modules of PLANTS as Python would, and changes them once they are there."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in PLANTS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def changed(module: ModuleType) -> None:
                execute(module)
                PLANTS[name](module)

            spec.loader.exec_module = changed  # type: ignore[method-assign]
        return spec


if PLANTED != [""]:
    sys.meta_path.insert(0, Planter())
