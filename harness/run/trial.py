"""A trial of tuning: trained under the full run's schedule as far as it is asked to, validated, and nothing else; where
another score than the validation loss chooses, it answers the validation examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import UserError
from harness.evaluation.predict import predict, score_task
from harness.evaluation.validation import example_parts
from harness.prepare.base_model import DTYPES
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.forward import LabelForward, mean_of
from harness.results.folder import read_record
from harness.results.record import Record
from harness.results.tuned import VAL_LOSS, Answers, Rung, Trial
from harness.run.adapt import apply_method
from harness.run.record import base_record
from harness.run.train import resumed
from harness.training.trainer import State, Trainer, TrainingData

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.prepare.base_model import LoadedModel
    from harness.results.folder import RunFolder
    from harness.run.progress import RunProgress


def try_out(settings: RunSettings, folder: RunFolder, loaded: LoadedModel, progress: RunProgress) -> Record:
    """Train to the last step of `settings.trial`, or go on there from the trial's checkpoint. Raises RunEnded,
    UserError, or what went wrong."""
    assert settings.trial is not None
    torch.manual_seed(settings.seed)
    known = base_record(settings, folder.run)
    spent = _go_on(folder, progress)
    with progress.phase("prepare"):
        task = EncodedTask(settings, loaded)
        if sum(len(batch.ids) for batch in task.validation) < 2:
            raise UserError("tune: trials are compared by validation examples, of which there is one; give more")
        model = apply_method(settings, loaded.model, task.site())
    forward = LabelForward(model, DTYPES[settings.precision])
    data = TrainingData(task.batches(settings.train.batch_size, settings.seed), task.pad, task.validation)
    trainer = Trainer(forward, settings.method, settings.train, data, folder.checkpoint, keep_best=False)
    trainer.trial = settings.trial
    if settings.tune.by != VAL_LOSS:
        trainer.answer = _answering(task, model, forward, progress)
    resumed_from = resumed(trainer, settings, progress)
    lost = 0 if resumed_from else spent  # of a method that cannot go on, and trains again

    def report(line: dict[str, float]) -> None:
        progress.step = int(line["step"])
        progress.measured["train_tokens"] = trainer.state.tokens + lost
        progress.report({"steps": settings.train.steps} | line)

    with progress.phase("train"):
        state = trainer.run(progress.ended, report)
    by, last = settings.tune.by, state.answers.get(state.step, {})
    trial = Trial(steps=settings.train.steps, rungs=_rungs(state), by=by, better=last.get("better", "lower"))
    quality = {"val_loss": trial.rungs[-1].val_loss} | ({by: last["score"]} if last else {})
    return Record(
        **known,
        status="ok",
        step=state.step,
        resumed_from=resumed_from,
        train_tokens=state.tokens + lost,
        seconds=progress.seconds | {"total": progress.total},
        quality=quality,
        signatures={by: last["signature"]} if last else {},
        null_reasons={f"quality.{by}": last["reason"]} if last and last["reason"] else {},
        trial=trial,
        warnings=progress.warnings,
    )


def _go_on(folder: RunFolder, progress: RunProgress) -> int:
    """Add what the trial's earlier stretches took, as far as they were recorded. Returns the tokens of those."""
    if not folder.record.exists():
        return 0
    before = read_record(folder.record)
    progress.earlier = before.seconds.get("total", 0.0)
    progress.seconds |= {name: seconds for name, seconds in before.seconds.items() if name != "total"}
    return before.train_tokens or 0


def _answering(
    task: EncodedTask, model: Any, forward: LabelForward, progress: RunProgress
) -> Callable[[], dict[str, Any]]:
    """What answers the validation examples, and gives the score that chooses."""
    by, answer = task.settings.tune.by, task.settings.method.generate

    def answered() -> dict[str, Any]:
        scores = score_task(task, predict(task, answer, model, forward, progress.generated), by)
        if by not in scores.quality:
            raise UserError(f"tune.by={by}: data={task.settings.data.name} has no such score")
        return {
            "score": scores.quality[by],
            "examples": example_parts(scores, by),
            "better": scores.better[by],
            "signature": scores.signatures[by],
            "reason": scores.reasons.get(by),
        }

    return answered


def _rungs(state: State) -> list[Rung]:
    """What validation gave, by step."""
    rungs = []
    for step, losses in sorted(state.rungs.items()):
        told = state.answers.get(step)
        answers = told and Answers(score=told["score"], examples=_short(told["examples"]))
        rungs.append(Rung(step=step, val_loss=mean_of(losses), losses=_short([n for n, _ in losses]), answers=answers))
    return rungs


def _short(values: Sequence[float]) -> list[float]:
    """To six digits."""
    return [float(f"{value:.6g}") for value in values]
