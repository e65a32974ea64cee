"""The one orchestrator: adapt, train, count memory, save, evaluate, time, check, record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.host.environment import resolve_device
from harness.measure.peak_memory import Meter
from harness.run.adapt import adapt
from harness.run.evaluate import evaluate
from harness.run.keep import check, describe, save
from harness.run.memory import count_memory, peak_memory
from harness.run.record import assemble, base_record
from harness.run.time_answers import time_answers
from harness.run.tracking import Tracking
from harness.run.train import train

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.prepare.base_model import LoadedModel
    from harness.results.folder import RunFolder
    from harness.results.record import Record
    from harness.run.progress import RunProgress


def execute(settings: RunSettings, folder: RunFolder, loaded: LoadedModel, progress: RunProgress) -> Record:
    """One run, top to bottom. Each stage gives its sections of the record, and why some of them are null. Raises
    RunEnded, UserError, or what went wrong."""
    meter = Meter(resolve_device(settings.device))
    torch.manual_seed(settings.seed)
    known = base_record(settings, folder.run)
    with Tracking(settings, folder.run, known) as tracking:
        adapted = adapt(settings, loaded, progress)
        trained = train(adapted, folder, meter, progress, tracking.log)
        counted = count_memory(adapted, folder, progress)
        saved = save(adapted, folder, progress)
        scored = evaluate(adapted, trained, folder, meter, progress)
        timed = time_answers(adapted, folder, meter, progress)
        checked = check(adapted, folder, progress)
        peaks = peak_memory(adapted, trained, scored, meter)
        stages = [adapted.stage, trained, counted, saved, scored, timed, checked, peaks]
        record = assemble(known, stages, progress)
        describe(adapted, folder.adapter, record, scored.lines)
        with progress.phase("track"):
            return tracking.finish(record, scored.lines)
