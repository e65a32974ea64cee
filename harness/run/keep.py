"""The stages that keep what was trained, and look whether it can be loaded again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.run.record import Stage
from harness.run.self_check import faults

if TYPE_CHECKING:
    from harness.results.folder import RunFolder
    from harness.run.adapt import Adapted
    from harness.run.progress import RunProgress


def save(adapted: Adapted, folder: RunFolder, progress: RunProgress) -> Stage:
    """Save what the method trained, in the precision in which it is deployed."""
    adapted.deploy()
    with progress.phase("save"):
        size = adapted.method.save(adapted.model, folder.adapter)
        if adapted.method.trains:
            adapted.check.saved(adapted.model, adapted.forward, adapted.task.validation[0])
    return Stage({"parameters": adapted.stage.sections["parameters"] | {"adapter_bytes": size}})


def check(adapted: Adapted, folder: RunFolder, progress: RunProgress) -> Stage:
    """Load what was saved onto a new base, and compare; every self-check's findings."""
    if not adapted.method.trains:
        return Stage({"checks": None}, {"checks": "nothing is trained"})
    with progress.phase("check"):
        adapted.check.reload(folder.adapter)
    checks = adapted.check.section()
    assert checks is not None
    return Stage({"checks": checks}, adapted.check.reasons, faults(checks, adapted.method.facts))
