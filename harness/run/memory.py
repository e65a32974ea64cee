"""The stages that count memory: tensor by tensor, and as the device saw it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.memory.counted import counted
from harness.memory.forecast import Forecast
from harness.results.sections import Memory
from harness.run.record import Stage

if TYPE_CHECKING:
    from harness.measure.peak_memory import Meter
    from harness.results.folder import RunFolder
    from harness.run.adapt import Adapted
    from harness.run.evaluate import Scored
    from harness.run.progress import RunProgress
    from harness.run.train import Trained


def count_memory(adapted: Adapted, folder: RunFolder, progress: RunProgress) -> Stage:
    """Count the tensors of a pass like the run's, beside its plan and what the device holds meanwhile."""
    with progress.phase("ledger"):
        memory = counted(adapted.task, adapted.base_tensors, adapted.forward, adapted.view, folder.ledger)
        adapted.base_tensors, adapted.view = [], ""  # evaluation's peak is not theirs
    forecast = Forecast.read(folder.plan)
    sections = {"ledger": memory.ledger, "device_memory": memory.device, "planned": forecast.planned}
    seconds = {} if forecast.seconds is None else {"plan": forecast.seconds}
    progress.seconds = seconds | progress.seconds
    return Stage(sections, memory.reasons | ({} if forecast.reason is None else {"planned": forecast.reason}))


def peak_memory(adapted: Adapted, trained: Trained, scored: Scored, meter: Meter) -> Stage:
    """The peaks of training and of evaluation as the system and the GPU saw them."""
    train, evaluate, cuda = trained.peak, scored.peak, adapted.device == "cuda"
    section = Memory(
        train_rss_growth=train.rss_growth if train else None,
        evaluate_rss_growth=evaluate.rss_growth if evaluate else None,
        process_peak_rss=meter.process_peak,
        train_cuda_allocated=train.cuda_allocated if train else None,
        train_cuda_reserved=train.cuda_reserved if train else None,
        evaluate_cuda_allocated=evaluate.cuda_allocated if evaluate else None,
        evaluate_cuda_reserved=evaluate.cuda_reserved if evaluate else None,
    )
    if adapted.method.untouched:
        return Stage({"memory": section}, {"memory": "its scores are made once and shared by all rows"})
    figure, why = ("rss_growth", "the run was on a GPU") if cuda else ("cuda_allocated", "the run was on a CPU")
    reasons = {f"memory.{phase}_{figure}": why for phase in ("train", "evaluate")}
    if not cuda and train and train.rss_growth is None:
        reasons["memory.train_rss_growth"] = "this system does not let the peak be reset between phases"
    return Stage({"memory": section}, reasons)
