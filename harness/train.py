"""Training: from a model with marked parameters to the weights that are scored."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.data.batching import PASS_COST, Batch, Encoded, by_length, collate
from harness.errors import UserError
from harness.forward import LabelForward
from harness.measure.flops import FlopCounter
from harness.measure.stopwatch import Stopwatch

if TYPE_CHECKING:
    from harness.config import Train
    from harness.methods import Method

WARM_UP = 3
"""First steps, whose time is not counted but whose floating-point operations are."""
LOOKED_AT = 3
"""First steps by which every trained tensor has had a gradient: factors that start at zero hold back that of others in
the first, and so does a rate that is warmed up from zero."""


class RunEnded(Exception):
    """A run that ended before it was done: with which status, why, and at which step."""

    def __init__(self, status: str, cause: str, step: int | None = None) -> None:
        super().__init__(cause)
        self.status, self.cause, self.step = status, cause, step


@dataclass
class State:
    """How far training is. Everything that a checkpoint holds besides tensors' owners."""

    step: int = 0
    tokens: int = 0
    """Tokens of text trained on."""
    labels: int = 0
    """Those of them that counted in the loss."""
    looked: int = 0
    """Steps in which gradients were looked at, at most `LOOKED_AT`."""
    idle: list[str] = field(default_factory=list)
    """Trained tensors that had none but zeros in those steps."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """A line a step: loss, lr, grad_norm, tokens, samples; `seconds` of the step with its batches there, of which
    `forward_seconds`, `backward_seconds` and `step_seconds` (clipping, optimizer, schedule); `data_seconds` and
    `logging_seconds` besides; `flops` in the warm-up, val_loss where it was measured."""
    best_step: int = 0
    best_loss: float = math.inf
    best_weights: dict[str, torch.Tensor] | None = None


def trainable(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that training may change, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def to_master_precision(model: torch.nn.Module) -> None:
    """Trainable parameters become fp32: a bf16 weight does not move at small learning rates."""
    from peft.utils.other import ModulesToSaveWrapper

    for parameter in trainable(model).values():
        parameter.data = parameter.data.float()
    for module in model.modules():
        # PEFT's layers take inputs of another precision than their weights'; a head that it trains whole does not.
        if isinstance(module, ModulesToSaveWrapper):
            module.register_forward_pre_hook(lambda _, args: tuple(each.float() for each in args))


def to_deployed_precision(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Weights of the base that were trained in fp32 go back to the run's dtype: scored as they would be deployed."""
    for parameter in model.parameters():
        if parameter.dtype == torch.float32:
            parameter.data = parameter.data.to(dtype)


def enable_checkpointing(model: Any) -> None:
    """Keep of each block only its input, and compute it again in the backward pass. Raises UserError."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not base.supports_gradient_checkpointing:
        raise UserError(f"train.gradient_checkpointing: {base.config.model_type} does not support it; use false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # a newer name, which the earliest supported version has not
        base.gradient_checkpointing_enable({"use_reentrant": False})


def make_optimizer(name: str, groups: list[dict[str, Any]], weight_decay: float) -> Any:
    """AdamW of torch, or those of bitsandbytes: 8-bit state (fp32 below 4,096 elements), and paged, so that a GPU whose
    memory is full moves it to the host."""
    if name == "adamw":
        return torch.optim.AdamW(groups, weight_decay=weight_decay, fused=True)
    import bitsandbytes as bnb

    kinds = {"paged_adamw": "PagedAdamW", "adamw8bit": "AdamW8bit", "paged_adamw8bit": "PagedAdamW8bit"}
    return getattr(bnb.optim, kinds[name])(groups, weight_decay=weight_decay)


class Trainer:
    """Trains one model for a fixed number of steps; `run` goes on from a checkpoint if there is one."""

    def __init__(
        self,
        model: Any,
        forward: LabelForward,
        method: Method,
        settings: Train,
        batches: Iterator[list[Encoded]],
        pad: int,
        validation: Sequence[Batch],
        checkpoint: Path,
        keep_best: bool,
    ) -> None:
        from transformers import get_scheduler

        self.model, self.forward, self.method, self.settings = model, forward, method, settings
        self.batches, self.pad, self.validation = batches, pad, validation
        self.checkpoint, self.keep_best = checkpoint, keep_best
        self.parameters = trainable(model)
        self.kept: dict[str, torch.Tensor] = {**self.parameters, **method.state(model)}
        self.device = next(model.parameters()).device
        self.pass_cost = PASS_COST.get((self.device.type, forward.dtype))
        self.optimizer = make_optimizer(settings.optimizer, method.parameter_groups(model), settings.weight_decay)
        kind = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}[settings.schedule]
        self.scheduler = get_scheduler(kind, self.optimizer, settings.warmup_steps, settings.steps)
        # fp16 cannot hold small gradients: the loss is scaled up, and steps in which that overflows are left out.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=forward.dtype == torch.float16)
        self.state = State()

    def run(self, ended: Callable[[], RunEnded | None], report: Callable[[dict[str, float]], None]) -> State:
        """Train to the last step. `ended` is asked before each step, `report` is told each line of the curve."""
        state, settings = self.state, self.settings
        self._load()
        for line in state.curve:
            report(line)
        batches = islice(self.batches, state.step * settings.accumulation, None)
        self.model.train()
        while state.step < settings.steps:
            if end := ended():
                self._save()
                end.step = state.step
                raise end
            began = time.perf_counter()
            examples = [next(batches) for _ in range(settings.accumulation)]
            group = [collate(part, self.pad) for each in examples for part in by_length(each, self.pass_cost)]
            group = [batch.to(self.device) for batch in group]
            data = time.perf_counter() - began
            line = self._step(group) | {"data_seconds": data}
            if settings.validate_every and state.step % settings.validate_every == 0 and state.step < settings.steps:
                line["val_loss"] = self._validate()
            if state.step == settings.steps:
                line["val_loss"] = self._validate()
            state.curve.append(line)
            began = time.perf_counter()
            report(line)
            line["logging_seconds"] = time.perf_counter() - began
            if state.step % settings.checkpoint_every == 0 and state.step < settings.steps:
                self._save()
        if self.keep_best and state.best_weights is not None:
            for name, tensor in self.kept.items():
                tensor.data.copy_(state.best_weights[name])
        return state

    def _step(self, group: Sequence[Batch]) -> dict[str, float]:
        """One optimizer step over the group's batches, each label weighing the same."""
        state = self.state
        watch = Stopwatch(self.device)
        labels = sum(len(batch.targets) for batch in group)
        loss = 0.0
        with FlopCounter() if state.step < WARM_UP else nullcontext() as counter:
            for batch in group:
                part = self.forward.loss_sum(batch, self.settings.label_smoothing) / labels
                watch.lap("forward")
                self.scaler.scale(part).backward()  # type: ignore[no-untyped-call]
                loss += part.item()
                watch.lap("backward")
            penalty = self.method.penalty(self.model)
            if penalty is not None:
                self.scaler.scale(penalty).backward()  # type: ignore[no-untyped-call]
                watch.lap("backward")
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip_norm or math.inf).item()
        overflowed = self.scaler.is_enabled() and not math.isfinite(norm) and self.scaler.get_scale() >= 1
        if not (math.isfinite(loss) and (math.isfinite(norm) or overflowed)):
            raise RunEnded("diverged", f"loss {loss}, gradient norm {norm} at step {state.step + 1}", state.step)
        lr = self.scheduler.get_last_lr()[0]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if not overflowed:
            self._look()
            self.method.after_step(self.model, state.step + 1)
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        tokens = sum(batch.tokens for batch in group)
        state.tokens += tokens
        state.labels += labels
        line = {
            "step": state.step,
            "loss": loss,
            "lr": lr,
            "grad_norm": 0.0 if overflowed else norm,
            "tokens": tokens,
            "samples": sum(len(batch.ids) for batch in group),
        }
        watch.lap("step")
        line |= watch.seconds()
        if counter is not None and counter.total is not None:
            line["flops"] = counter.total
        return line if penalty is None else line | {"penalty": penalty.item()}

    def _look(self) -> None:
        """Note which tensors have had a gradient. Raises RunEnded where none had any in all of `LOOKED_AT` steps."""
        state = self.state
        if state.looked == LOOKED_AT:
            return
        left = state.idle if state.looked else list(self.parameters)
        grads = {name: self.parameters[name].grad for name in left}
        state.idle = [name for name, grad in grads.items() if grad is None or not grad.any()]
        state.looked += 1
        if state.looked == LOOKED_AT and len(state.idle) == len(self.parameters):
            cause = f"none of the {len(state.idle)} trained tensors had a gradient in the first {LOOKED_AT} steps"
            raise RunEnded("error", f"{cause}: nothing would be trained; choose other targets", state.step)

    def _validate(self) -> float:
        loss = self.forward.mean_loss(self.validation)
        if not math.isfinite(loss):
            raise RunEnded("diverged", f"validation loss {loss} after step {self.state.step}", self.state.step)
        if self.keep_best and loss < self.state.best_loss:
            self.state.best_step, self.state.best_loss = self.state.step, loss
            self.state.best_weights = {name: tensor.detach().clone() for name, tensor in self.kept.items()}
        return loss

    def _save(self) -> None:
        """Write the checkpoint whole or not at all."""
        if not self.method.resumes:
            return
        content = {
            "state": vars(self.state),
            "weights": {name: tensor.detach() for name, tensor in self.kept.items()},
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
        }
        temporary = self.checkpoint.with_suffix(".partial")
        torch.save(content, temporary)
        temporary.replace(self.checkpoint)

    def _load(self) -> None:
        if not self.checkpoint.exists():
            return
        content = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        for name, value in content["state"].items():
            setattr(self.state, name, value)
        for name, tensor in self.kept.items():
            tensor.data.copy_(content["weights"][name])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scheduler.load_state_dict(content["scheduler"])
        self.scaler.load_state_dict(content["scaler"])
        torch.set_rng_state(content["random"].cpu())
        if content["random_cuda"] is not None:
            torch.cuda.set_rng_state(content["random_cuda"].cpu())
