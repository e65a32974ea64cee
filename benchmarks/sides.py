"""The two sides of `benchmarks.against_trainer`: transformers' Trainer as people use it, and the harness's own."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch.nn.utils.rnn import pad_sequence

from harness.config.run_settings import RunSettings
from harness.methods.lora import Lora
from harness.prepare.base_model import DTYPES, load_base
from harness.prepare.batch import Encoded
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.forward import LabelForward
from harness.training.precision import to_master_precision
from harness.training.trainer import Trainer, TrainingData

Batches = Sequence[list[Encoded]]


@dataclass(frozen=True)
class Training:
    """One training, step by step."""

    losses: list[float]
    """Mean nats per label."""
    seconds: list[float]
    tokens: list[int]
    """Prompt and completion, padding not counted."""

    def median_speed(self, warm_up: int) -> float:
        """Median tokens per second over the steps after the warm-up."""
        return statistics.median(t / s for t, s in zip(self.tokens[warm_up:], self.seconds[warm_up:], strict=True))

    def total_speed(self, warm_up: int) -> float:
        """All tokens after the warm-up by all seconds after it."""
        return sum(self.tokens[warm_up:]) / sum(self.seconds[warm_up:])


class Clock(transformers.TrainerCallback):
    """Seconds of each step, from its beginning until the optimizer is done."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._started = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self._started = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop."""
        self.seconds.append(time.perf_counter() - self._started)


class UsualSide:
    """What people write today: AutoModelForCausalLM, PEFT's LoRA, transformers.Trainer with its defaults."""

    def __init__(self, settings: RunSettings) -> None:
        assert isinstance(settings.method, Lora)
        self.settings, method = settings, settings.method
        # Loads by AutoModelForCausalLM.from_pretrained; the settings name sdpa, which is transformers' own default.
        model, tokenizer = load_base(settings)
        lora = LoraConfig(
            task_type="CAUSAL_LM",
            r=method.rank,
            lora_alpha=method.rank,
            lora_dropout=0.0,
            target_modules="all-linear",
        )
        self.model: Any = get_peft_model(model, lora)
        self.pad = int(tokenizer.pad_token_id)

    def train(self, batches: Batches) -> Training:
        """Train on the batches, in their order."""
        train, clock = self.settings.train, Clock()
        rows = [
            {"input_ids": e.ids, "labels": [i if n in set(e.places) else -100 for n, i in enumerate(e.ids)]}
            for batch in batches
            for e in batch
        ]
        losses: list[torch.Tensor] = []
        hook = self.model.register_forward_hook(lambda _module, _inputs, out: losses.append(out.loss.detach()))
        with TemporaryDirectory() as folder:
            arguments = transformers.TrainingArguments(
                output_dir=folder,
                max_steps=train.steps,
                per_device_train_batch_size=train.batch_size,
                learning_rate=self.settings.method.lr or 0.0,
                lr_scheduler_type=train.schedule,
                warmup_steps=train.warmup_steps,
                weight_decay=train.weight_decay,
                max_grad_norm=train.clip_norm or 0.0,
                train_sampling_strategy="sequential",  # the rows are shuffled already
                label_names=["labels"],
                seed=self.settings.seed,
                use_cpu=True,
                dataloader_pin_memory=False,
                logging_strategy="no",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            )
            trainer = transformers.Trainer(
                model=self.model,
                args=arguments,
                train_dataset=datasets.Dataset.from_list(rows),
                data_collator=functools.partial(pad_rows, pad=self.pad),
                callbacks=[clock],
            )
            trainer.remove_callback(transformers.PrinterCallback)
            trainer.train()
        hook.remove()
        tokens = [sum(len(e.ids) for e in batch) for batch in batches]
        return Training([loss.item() for loss in losses], clock.seconds, tokens)


class HarnessSide:
    """The harness's own trainer, wired as in harness/run/execute.py."""

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        base = load_base(settings)
        self.task = EncodedTask(settings, base)
        self.model: Any = settings.method.apply(base[0], self.task.site())
        to_master_precision(self.model)
        self.forward = LabelForward(self.model, DTYPES[settings.precision])

    def train(self, batches: Batches) -> Training:
        """Train on the batches, in their order."""
        with TemporaryDirectory() as folder:
            trainer = Trainer(
                self.forward,
                self.settings.method,
                self.settings.train,
                TrainingData(iter(batches), self.task.pad, self.task.validation),
                Path(folder) / "checkpoint.pt",
                keep_best=False,
            )
            curve = trainer.run(lambda: None, lambda line: None).curve
        losses, seconds = [line["loss"] for line in curve], [line["seconds"] for line in curve]
        return Training(losses, seconds, [int(line["tokens"]) for line in curve])


def pad_rows(rows: Sequence[dict[str, list[int]]], pad: int) -> dict[str, torch.Tensor]:
    """A batch for transformers, padded on the right; labels of prompt and padding are -100."""
    ids = [torch.tensor(row["input_ids"]) for row in rows]
    return {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=pad),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "labels": pad_sequence([torch.tensor(row["labels"]) for row in rows], batch_first=True, padding_value=-100),
    }
