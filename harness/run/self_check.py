"""What a run finds of itself: whether all that was to be trained was trained, and whether what it saved is that.

The commonest fault of parameter-efficient fine-tuning is that something was silently not trained.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import RunEnded, first_line
from harness.host.memory import available
from harness.prepare.base_model import DTYPES, load_base
from harness.prepare.batch import Batch
from harness.prepare.forward import LabelForward
from harness.results.sections import Checks
from harness.training.optimizer import trainable
from harness.training.trainer import LOOKED_AT, State

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.methods import Facts, Site


Sums = dict[str, tuple[float, float]]
"""By name of a tensor: the sum and the norm of its values. A step of training that leaves both as they are, to the last
digit in fp64, has left the tensor as it is."""

ROUNDING = 16
"""Units of rounding of the largest logit by which the model loaded again may differ: of fp32 where the same tensors are
multiplied in the same order, which gives the same bits; of the run's dtype where a method keeps what its tensors make,
such as fewer ranks, and sums are taken in another order."""
NAMED = 3
"""Names that a warning holds."""


def sums(tensors: Mapping[str, torch.Tensor]) -> Sums:
    """What tells these tensors from others."""
    with torch.no_grad():
        return {
            name: (
                tensor.sum(dtype=torch.float64).item(),
                torch.linalg.vector_norm(tensor, dtype=torch.float64).item(),
            )
            for name, tensor in tensors.items()
        }


def requested(model: Any, endings: Iterable[str]) -> dict[str, list[str]]:
    """By ending, the names of the base's modules that end so."""
    names = [name for name, _ in model.named_modules()]
    return {ending: [name for name in names if f".{name}".endswith(f".{ending}")] for ending in endings}


def covered(modules: Mapping[str, Sequence[str]], model: Any, beside: bool) -> dict[str, tuple[int, int]]:
    """By ending: how many modules were requested, and in how many of them a tensor is trained; `beside`: in the module
    that holds it. Several modules may share one."""
    trained = [name for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad]
    inside = {part for name in trained for part in _parents(name)}

    def place(name: str) -> str:
        return name.rpartition(".")[0] if beside else name

    return {ending: (len(names), sum(place(name) in inside for name in names)) for ending, names in modules.items()}


def _parents(name: str) -> Iterable[str]:
    """The names of all modules that a tensor may lie in, whatever a method has put in front of the base's own names."""
    parts = name.split(".")
    return (".".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts)))


class SelfCheck:
    """Looks at a run's model before training, after it, and after saving; `section` says what was found."""

    def __init__(self, settings: RunSettings, base: Any, site: Site) -> None:
        """`base`: before the method is applied."""
        self.settings = settings
        self.modules = requested(base, site.modules)
        self.base_bytes = sum(p.nbytes for p in base.parameters())
        self.before: Sums = {}
        self.found: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}
        """By field of the record: why it is null."""

    def start(self, model: Any) -> None:
        """Before training, from the beginning or from a checkpoint."""
        trained = trainable(model)
        self.before = sums(trained)
        self.found |= {
            "tensors": len(trained),
            "modules": covered(self.modules, model, self.settings.method.facts.beside),
        }

    def trained(self, model: Any, state: State) -> None:
        """After training. Raises RunEnded where it changed nothing at all."""
        after = sums({name: p for name, p in model.named_parameters() if name in self.before})
        unchanged = [name for name, each in self.before.items() if after.get(name) == each]
        if len(unchanged) == len(self.before):
            rate = self.settings.method.lr
            cause = f"training changed none of the {len(unchanged)} tensors (method.lr={rate:g})"
            raise RunEnded("error", cause, state.step)
        looked = state.looked >= LOOKED_AT
        if not looked:
            self.reasons["checks.without_gradient"] = f"it takes {LOOKED_AT} steps to tell"
        self.found |= {
            "without_gradient": state.idle if looked else None,
            "unchanged": unchanged,
            "supervised_share": state.labels / state.tokens,
        }

    def saved(self, model: Any, forward: LabelForward, batch: Batch) -> None:
        """What has just been saved: its trained tensors, and its logits on a batch."""
        self.sums = sums({name: p for name, p in model.named_parameters() if name in self.before})
        self.batch, self.logits = batch, _logits(forward, batch)

    def reload(self, folder: Path) -> None:
        """Load what was saved onto a new base, and compare."""
        if why := "a full copy is not saved" if not folder.exists() else self._no_room():
            self.reasons |= dict.fromkeys(["checks.saved_otherwise", "checks.reload_difference"], why)
            return
        base, _ = load_base(self.settings)
        try:
            model = self.settings.method.load(base, folder)
        except Exception as error:  # of whatever reads adapters: the run has been scored, and this is what is wrong
            traceback.print_exc()  # to the run's log
            self.found["load_error"] = f"{type(error).__name__}: {first_line(error)}"
            why = "the saved adapter cannot be loaded"
            self.reasons |= dict.fromkeys(["checks.saved_otherwise", "checks.reload_difference"], why)
            return
        own_sums = sums({name: p for name, p in model.named_parameters() if name in self.sums})
        dtype = DTYPES[self.settings.precision]
        unit = torch.finfo(dtype if self.settings.method.facts.remade else torch.float32).eps
        apart = (_logits(LabelForward(model, dtype), self.batch) - self.logits).abs().max().item()
        self.found |= {
            "saved_otherwise": [name for name, own in own_sums.items() if own != self.sums[name]],
            "reload_difference": apart,
            "reloads": apart <= ROUNDING * unit * self.logits.abs().max().item(),
        }

    def section(self) -> Checks | None:
        """The record's section; None where nothing was trained."""
        return Checks(**self.found) if self.found else None

    def _no_room(self) -> str | None:
        needed = 1.2 * self.base_bytes  # what a model takes while it is loaded
        device = self.logits.device
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available()
        if needed < free:
            return None
        return f"a second base would take {needed / 2**30:.1f} GiB, there are {free / 2**30:.1f}"


@torch.no_grad()
def _logits(forward: LabelForward, batch: Batch) -> torch.Tensor:
    forward.model.eval()
    return forward.logits(batch).float()


def faults(checks: Checks, facts: Facts) -> list[str]:
    """What is wrong and not a fact of the method, a line each."""

    def bad(names: Sequence[str] | None, exempt: Sequence[str]) -> list[str]:
        return [name for name in names or () if not any(re.search(each, name) for each in exempt)]

    lines = []
    if names := bad(checks.without_gradient, facts.resting):
        lines.append(f"{_count(names, checks)} had no gradient in the first {LOOKED_AT} steps: {_some(names)}")
    if names := bad(checks.unchanged, facts.resting):
        lines.append(f"{_count(names, checks)} did not change in training: {_some(names)}")
    if missing := {ending: each for ending, each in checks.modules.items() if each[1] < each[0]}:
        parts = ", ".join(f"{ending} ({trained} of {asked})" for ending, (asked, trained) in missing.items())
        lines.append(f"requested modules in which nothing is trained: {parts} are")
    if names := bad(checks.saved_otherwise, facts.remade):
        lines.append(f"{_count(names, checks)}, loaded again, are not those that were scored: {_some(names)}")
    if checks.load_error:
        lines.append(f"the saved adapter cannot be loaded ({checks.load_error})")
    if checks.reloads is False:
        lines.append(
            f"the saved adapter, loaded again, gives other logits (by up to {checks.reload_difference:.3g}): what is "
            "deployed is not what was scored"
        )
    return lines


def _count(names: Sequence[str], checks: Checks) -> str:
    return f"{len(names)} of {checks.tensors} trained tensors"


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:NAMED], *(["…"] if len(names) > NAMED else [])])
