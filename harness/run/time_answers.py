"""The stage that times answers of the trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.methods import answer
from harness.models import save_pretrained
from harness.run.latency import Latency
from harness.run.record import Stage

if TYPE_CHECKING:
    from harness.measure.peak_memory import Meter
    from harness.results.folder import RunFolder
    from harness.run.adapt import Adapted
    from harness.run.progress import RunProgress


def time_answers(adapted: Adapted, folder: RunFolder, meter: Meter, progress: RunProgress) -> Stage:
    """Time the trained model as training left it and with its adapter merged, beside the base's figures. Keeps the
    model where the settings say so, since merging writes into it."""
    settings, method, model = adapted.settings, adapted.method, adapted.model
    latency = Latency(settings, adapted.tokenizer, meter, progress.ended)
    latency.take_base(adapted.base_folders.inference)
    with progress.phase("inference"):
        latency.measure("unmerged", method.generate, lambda: model)
    merges = method.facts.merges
    if settings.keep_model:
        with progress.phase("save"):
            model, merges = method.merge(model) if merges else model, False
            save_pretrained(model, adapted.tokenizer, folder.model)
    # On a CPU this process shares the base's weights with the worker until merging writes into them.
    copies = sum(p.nbytes for p in model.parameters()) if merges and adapted.device == "cpu" else 0
    with progress.phase("inference"):
        latency.measure("merged", answer, lambda: method.merge(model) if merges else model, copies)
    return Stage({"inference": dict(latency.found) or None}, latency.explained())
