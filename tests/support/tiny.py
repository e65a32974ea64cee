"""A tiny random model with its settings, for tests in the process."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from harness.config.run_settings import RunSettings
from harness.config.validate import settings_from
from harness.places import CONF
from harness.prepare.base_model import DTYPES, load_base
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.forward import LabelForward
from harness.training.precision import to_master_precision

SMALL = (
    "model=tiny_random",
    "data.size=100",
    "dtype=fp32",
    "tracker=none",
    "train.steps=8",
    "train.warmup_steps=2",
    "train.batch_size=4",
    "train.validation_examples=4",
    "eval.test_examples=4",
    "eval.max_new_tokens=12",
    "forgetting.max_tokens=512",
)
# A tiny model is fastest on one thread, and two busy pools of threads stall each other. `make test-isa` tries two.
torch.set_num_threads(int(os.environ.get("TEST_THREADS", "1")))

METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))


def settings(*overrides: str) -> RunSettings:
    """Typed settings of a tiny run."""
    return settings_from(_composed(overrides))


@functools.cache
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    """Hydra takes a tenth of a second for it, and many tests ask for the same."""
    with initialize_config_dir(str(CONF), version_base=None):
        return compose("config", [*SMALL, *overrides])


@dataclass
class Adapted:
    """A model with its method applied."""

    settings: RunSettings
    model: Any
    tokenizer: Any
    task: EncodedTask
    forward: LabelForward


def adapted(overrides: Sequence[str]) -> Adapted:
    """A tiny model with the method of these overrides, ready to train."""
    chosen = settings(*overrides)
    model, tokenizer = load_base(chosen)
    task = EncodedTask(chosen, (model, tokenizer))
    torch.manual_seed(chosen.seed)
    model = chosen.method.apply(model, task.site())
    to_master_precision(model)
    return Adapted(chosen, model, tokenizer, task, LabelForward(model, DTYPES[chosen.precision]))
