"""A trial of tuning: trained under the full run's schedule as far as it is asked to, validated, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.errors import UserError
from harness.prepare.base_model import DTYPES
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.forward import LabelForward, mean_of
from harness.results.folder import read_record
from harness.results.record import Record
from harness.results.tuned import Rung, Trial
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
    resumed_from = resumed(trainer, settings, progress)
    lost = 0 if resumed_from else spent  # of a method that cannot go on, and trains again

    def report(line: dict[str, float]) -> None:
        progress.step = int(line["step"])
        progress.measured["train_tokens"] = trainer.state.tokens + lost
        progress.report({"steps": settings.train.steps} | line)

    with progress.phase("train"):
        state = trainer.run(progress.ended, report)
    trial = Trial(steps=settings.train.steps, rungs=_rungs(state))
    return Record(
        **known,
        status="ok",
        step=state.step,
        resumed_from=resumed_from,
        train_tokens=state.tokens + lost,
        seconds=progress.seconds | {"total": progress.total},
        quality={"val_loss": trial.rungs[-1].val_loss},
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


def _rungs(state: State) -> list[Rung]:
    """What validation gave, by step."""
    rungs = []
    for step, losses in sorted(state.rungs.items()):
        rungs.append(Rung(step=step, val_loss=mean_of(losses), losses=[float(f"{nats:.6g}") for nats, _ in losses]))
    return rungs
