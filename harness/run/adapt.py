"""The first stage: texts encoded, the method applied, parameters counted."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.evaluation.robustness import perturbed_tasks
from harness.evaluation.scores import cut_answers
from harness.host.environment import resolve_device
from harness.memory.counted import start_view
from harness.memory.ledger_pass import base_tensors
from harness.models import parameters
from harness.prepare.base_model import DTYPES, LoadedModel
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.forward import LabelForward
from harness.run.base_scores import BaseFolders
from harness.run.record import Stage
from harness.run.self_check import SelfCheck
from harness.training.precision import enable_checkpointing, to_deployed_precision, to_master_precision

if TYPE_CHECKING:
    import torch

    from harness.config.run_settings import RunSettings
    from harness.measure.device_memory import View
    from harness.methods import Method, Site
    from harness.run.progress import RunProgress


@dataclass
class Adapted:
    """The run's model with its method, and the texts that it works on. Later stages change `model` and `forward`."""

    settings: RunSettings
    model: Any
    tokenizer: Any
    forward: LabelForward
    task: EncodedTask
    perturbed: dict[str, EncodedTask]
    """The test examples as they are read otherwise: mistyped, or in other templates."""
    base_folders: BaseFolders
    base_scores: dict[str, Any]
    """What the untouched base gave."""
    check: SelfCheck
    base_tensors: list[tuple[str, torch.Tensor]]
    """The base's tensors before the method was applied; given back when memory has been counted."""
    view: View | str
    """What looks at the device while memory is counted, or why nothing can."""
    stage: Stage = field(default_factory=Stage)

    @property
    def method(self) -> Method:
        """The run's method."""
        return self.settings.method

    @property
    def device(self) -> str:
        """Type of the run's device."""
        return resolve_device(self.settings.device)

    @property
    def dtype(self) -> torch.dtype:
        """The run's dtype."""
        return DTYPES[self.settings.precision]

    def deploy(self) -> None:
        """Round trained weights of the base to the run's dtype, in which they would be served."""
        if self.method.trains and self.method.trains_base:
            to_deployed_precision(self.model, self.dtype)
            self.forward = LabelForward(self.model, self.dtype)


def apply_method(settings: RunSettings, model: Any, site: Site) -> Any:
    """The model with the run's method, ready to be trained. Raises UserError where that finds nothing to train."""
    method = settings.method
    model = method.apply(model, site)
    to_master_precision(model)
    if not any(p.requires_grad for p in model.parameters()) and method.trains:
        raise UserError(f"method={method.name}: finds nothing to train in this model; choose other targets")
    if settings.train.gradient_checkpointing and method.trains:
        enable_checkpointing(model)
    return model


def adapt(settings: RunSettings, loaded: LoadedModel, progress: RunProgress) -> Adapted:
    """Encode the run's texts and apply its method. Raises UserError where the method finds nothing to train."""
    model, tokenizer = loaded
    method = settings.method
    view = start_view(resolve_device(settings.device), model)
    with progress.phase("prepare"):
        folders = BaseFolders.of(settings)
        base_scores = json.loads((folders.quality / "scores.json").read_text())
        task, perturbed = EncodedTask(settings, loaded), perturbed_tasks(settings, loaded)
        total = parameters.total(model)
        site = task.site()
        warnings = cut_answers(settings.data, task.test) + method.warnings(model, site)
        untouched = base_tensors(model)
        check = SelfCheck(settings, model, site)
        model = apply_method(settings, model, site)
        added = parameters.total(model) - total
        dtype = DTYPES[settings.precision]
        sections = {
            "targets": sorted({re.sub(r"\d+(?=\.)", "*", name) for name in site.modules}),
            "parameters": {
                "trainable": parameters.trainable(model) if method.trains else 0,
                "added": added,
                "total": total + added,
                "full_copy_bytes": total * dtype.itemsize,
            },
        }
        forward = LabelForward(model, dtype)
    return Adapted(
        settings=settings,
        model=model,
        tokenizer=tokenizer,
        forward=forward,
        task=task,
        perturbed=perturbed,
        base_folders=folders,
        base_scores=base_scores,
        check=check,
        base_tensors=untouched,
        view=view,
        stage=Stage(sections, warnings=warnings),
    )
