"""Training: from a model with marked parameters to the weights that are scored."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from harness.errors import RunEnded
from harness.measure.flops import FlopCounter
from harness.measure.stopwatch import Stopwatch
from harness.prepare.batch import PASS_COST, Batch, Encoded, by_length, collate
from harness.prepare.forward import LabelForward, mean_of
from harness.training import checkpoint
from harness.training.optimizer import make_optimizer, trainable
from harness.training.step import gradients

if TYPE_CHECKING:
    from harness.methods import Method
    from harness.settings import Train


WARM_UP = 3
"""First steps, whose time is not counted but whose floating-point operations are."""
LOOKED_AT = 3
"""First steps by which every trained tensor has had a gradient: factors that start at zero hold back that of others in
the first, and so does a rate that is warmed up from zero."""


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
    rungs: dict[int, list[tuple[float, int]]] = field(default_factory=dict)
    """Of a trial: by step, each validation example's loss in nats and number of labels."""
    answers: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Of a trial whose answers choose: by step what `Trainer.answer` gave."""


class TrainingData(NamedTuple):
    """What a trainer works on."""

    batches: Iterator[list[Encoded]]
    pad: int
    """Token that shorter examples of a batch are filled up with."""
    validation: Sequence[Batch]


class _StepTimes(Stopwatch):
    """Times the parts of a step, and adds up its losses."""

    summed = 0.0

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.penalties: dict[str, float] = {}

    def loss(self, value: torch.Tensor) -> None:
        """A batch's share of the loss."""
        self.summed += value.item()

    def penalty(self, value: torch.Tensor) -> None:
        """The method's penalty."""
        self.penalties["penalty"] = value.item()


class Trainer:
    """Trains one model for a fixed number of steps, from the beginning or, after `resume`, from a checkpoint."""

    def __init__(
        self,
        forward: LabelForward,
        method: Method,
        settings: Train,
        data: TrainingData,
        place: Path,
        keep_best: bool,
    ) -> None:
        """`place`: the file of its checkpoint; `keep_best`: the weights of the best validation are those that stay."""
        self.model, self.forward, self.method, self.settings = forward.model, forward, method, settings
        self.batches, self.pad, self.validation = data
        self.checkpoint, self.keep_best = place, keep_best
        self.parameters = trainable(self.model)
        self.kept: dict[str, torch.Tensor] = {**self.parameters, **method.state(self.model)}
        self.device = next(self.model.parameters()).device
        self.pass_cost = PASS_COST.get((self.device.type, forward.dtype))
        self.trial: Sequence[int] = ()
        """Set before `resume`: a trial of tuning validates after these steps alone, and stops at the last of them."""
        self.answer: Callable[[], dict[str, Any]] | None = None
        """Set before `resume`: is asked where a trial validates, with the model ready to answer. Gives plain values."""
        self.measured: dict[str, Any] | None = None
        """What was measured of a training that is over, as `keep` was given it."""
        self._begin()

    def _begin(self) -> None:
        """The state before the first step."""
        from transformers import get_scheduler

        settings = self.settings
        groups = self.method.parameter_groups(self.model)
        self.optimizer = make_optimizer(settings.optimizer, groups, settings.weight_decay)
        kind = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}[settings.schedule]
        self.scheduler = get_scheduler(kind, self.optimizer, settings.warmup_steps, settings.steps)
        # fp16 cannot hold small gradients: the loss is scaled up, and steps in which that overflows are left out.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.forward.dtype == torch.float16)
        self.state = State()

    def resume(self) -> str | None:
        """Go on from the checkpoint, if there is one; where it is of no use, it is set aside, and the line says why."""
        if not self.checkpoint.exists():
            return None
        random = torch.get_rng_state()
        try:
            self._take_over(checkpoint.read(self.checkpoint, self._content(), self.device))
        except checkpoint.Damaged as why:
            self._begin()
            torch.set_rng_state(random)
            return checkpoint.set_aside(self.checkpoint, str(why))
        return None

    def run(self, ended: Callable[[], RunEnded | None], report: Callable[[dict[str, float]], None]) -> State:
        """Train to the last step. `ended` is asked before each step, `report` receives each line of the curve."""
        state, settings, trial = self.state, self.settings, self.trial
        last = trial[-1] if trial else settings.steps
        for line in state.curve:
            report(line)
        batches = islice(self.batches, state.step * settings.accumulation, None)
        self.model.train()
        while state.step < last:
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
            every = settings.validate_every or last
            if (state.step in trial) if trial else (state.step == last or state.step % every == 0):
                line["val_loss"] = self._validate()
            state.curve.append(line)
            began = time.perf_counter()
            report(line)
            line["logging_seconds"] = time.perf_counter() - began
            if state.step < settings.steps and (state.step % settings.checkpoint_every == 0 or state.step == last):
                self._save()
        if self.keep_best and state.best_weights is not None:
            for name, tensor in self.kept.items():
                tensor.data.copy_(state.best_weights[name])
            state.best_weights = None
        return state

    def keep(self, measured: dict[str, Any]) -> None:
        """Keep the trained weights until the run is recorded, with what was measured while they were trained: whatever
        goes wrong from here on, the next attempt goes on from them. `measured`: of plain values."""
        self.measured = measured
        self._save()

    def _step(self, group: Sequence[Batch]) -> dict[str, float]:
        """One optimizer step over the group's batches, each label weighing the same."""
        state, times = self.state, _StepTimes(self.device)
        smoothing, scaled = self.settings.label_smoothing, self.scaler.scale
        with FlopCounter() if state.step < WARM_UP else nullcontext() as counter:
            gradients(self.forward, self.method, group, smoothing, times, scaled)
        with times.part("step"):
            lr, norm = self._update(times.summed)
        state.step += 1
        tokens = sum(batch.tokens for batch in group)
        state.tokens += tokens
        state.labels += sum(len(batch.targets) for batch in group)
        line = {"step": state.step, "loss": times.summed, "lr": lr, "grad_norm": norm, "tokens": tokens}
        line |= {"samples": sum(len(batch.ids) for batch in group)} | times.seconds() | times.penalties
        if counter is not None and counter.total is not None:
            line["flops"] = counter.total
        return line

    def _update(self, loss: float) -> tuple[float, float]:
        """Clip the gradients, and change the weights by them. Returns the learning rate and the gradients' norm, 0
        where they overflowed. Raises RunEnded where there is no number to go on with."""
        state = self.state
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
        return lr, 0.0 if overflowed else norm

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
        """The validation loss; of a trial each example's own is kept."""
        if self.trial:
            losses = self.state.rungs[self.state.step] = self.forward.example_losses(self.validation)
            loss = mean_of(losses)
        else:
            loss = self.forward.mean_loss(self.validation)
        if not math.isfinite(loss):
            raise RunEnded("diverged", f"validation loss {loss} after step {self.state.step}", self.state.step)
        if self.keep_best and loss < self.state.best_loss:
            self.state.best_step, self.state.best_loss = self.state.step, loss
            self.state.best_weights = {name: tensor.detach().clone() for name, tensor in self.kept.items()}
        if self.answer is not None:
            self.model.eval()
            self.state.answers[self.state.step] = self.answer()
            self.model.train()
        return loss

    def _save(self) -> None:
        """Write the checkpoint."""
        if self.method.resumes:
            checkpoint.write(self.checkpoint, self._content())

    def _content(self) -> dict[str, Any]:
        """What a checkpoint holds; what only further steps need is left out when there are none."""
        going_on = self.measured is None
        return {
            "state": dict(vars(self.state)),
            "weights": {name: tensor.detach() for name, tensor in self.kept.items()},
            "optimizer": self.optimizer.state_dict() if going_on else None,
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
            "measured": self.measured,
        }

    def _impossible(self, state: State, weights: dict[str, torch.Tensor]) -> str | None:
        """Why no training of this run can have been so."""
        if [line.get("step") for line in state.curve] != list(range(1, state.step + 1)):
            return "its curve is not that of its steps"
        if state.step > self.settings.steps:
            return f"it is at step {state.step} of {self.settings.steps}"
        if self.trial and state.step > self.trial[-1] and self.trial[-1] not in state.rungs:
            return f"it is beyond step {self.trial[-1]}, at which it was not validated"
        if not all(torch.isfinite(each).all() for each in weights.values() if each.is_floating_point()):
            return "it has weights that are no numbers"
        return None

    def _take_over(self, content: dict[str, Any]) -> None:
        """Go on from what a checkpoint holds. Raises Damaged before any weight has changed."""
        try:
            state = State(**content["state"])
            if content["optimizer"] is not None:
                self.optimizer.load_state_dict(content["optimizer"])
            self.scheduler.load_state_dict(content["scheduler"])
            self.scaler.load_state_dict(content["scaler"])
            torch.set_rng_state(content["random"].cpu())
            if content["random_cuda"] is not None:
                torch.cuda.set_rng_state(content["random_cuda"].cpu())
        except Exception as error:  # of torch's many classes: a part that is none of theirs
            raise checkpoint.Damaged(f"a part of it does not fit ({type(error).__name__})") from None
        if why := self._impossible(state, content["weights"]):
            raise checkpoint.Damaged(why)
        self.state, self.measured = state, content["measured"]
        for name, tensor in self.kept.items():
            tensor.data.copy_(content["weights"][name])
