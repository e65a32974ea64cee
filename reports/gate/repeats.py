"""Whether a run still does what it did: to the bit on like hardware, within a bound elsewhere.

A test of scores asks whether a run got worse, and needs a change that chance does not explain. This asks whether it is
the same computation at all, which a method without effect is not, however little that shows in its score.
"""

from __future__ import annotations

from collections.abc import Iterator

from reports.gate.entries import Baseline, Entry, Machine
from reports.gate.rows import Row

MEASURE = "losses and answers"
ARITHMETIC = ("torch", "transformers", "bitsandbytes")
"""Libraries of which another version may add in another order. Not those that are tested: PEFT and the harness."""
BOUNDS = {"fp32": 1e-4}
"""By dtype, the relative change of a loss that other arithmetic may bring; docs/regressions.md says why so much."""


def elsewhere(before: Machine, after: Machine) -> str:
    """Why figures that depend on the machine cannot be compared; empty where they can."""
    if before.device != after.device:
        return f"the baseline is of another machine ({before.device}; now {after.device})"
    if before.threads != after.threads:
        return f"the baseline is of {before.threads} threads (now {after.threads})"
    if before.processor and after.processor and before.processor != after.processor:
        return f"the baseline is of another processor ({before.processor}; now {after.processor})"
    return ""


def unlike(before: Baseline, after: Baseline) -> str:
    """Why runs cannot be expected to repeat to the bit; empty where they can."""
    machines = before.machine, after.machine
    changed = [name for name in ARITHMETIC if before.versions.get(name) != after.versions.get(name)]
    if reason := elsewhere(*machines):
        return reason
    if before.machine.on_cpu and not all(each.processor for each in machines):
        return "it is not recorded which processor both are of"
    return f"{', '.join(changed)} changed" if changed else ""


def same_computation(before: Baseline, after: Baseline, runs: dict[str, tuple[Entry, Entry]]) -> Iterator[Row]:
    """A row for each run that has anything to compare."""
    why = unlike(before, after)
    for name, (old, new) in runs.items():
        # A GPU's kernels may add in the order in which threads arrive: repeats have to show that they do not. A run
        # that has shown it, and differs now, has moved.
        unsure = not before.machine.on_cpu and None in (old.alike, new.alike)
        reason = why or ("its own repeats differ" if old.alike is False or unsure else "")
        reason = reason or ("" if old.traced else "the baseline has neither its losses by step nor its answers")
        row = within(name, old, new, reason) if reason else to_the_bit(name, old, new)
        if row:
            yield row


def to_the_bit(name: str, old: Entry, new: Entry) -> Row:
    """Equality of losses and answers."""
    ends = old.quality.get("val_loss"), new.quality.get("val_loss")
    differences = _steps(old, new, 0.0)
    differences += ["validation loss"] if ends[0] != ends[1] else []
    differences += ["answers"] if new.predictions and old.predictions != new.predictions else []
    differences += ["its repeats differ"] if new.alike is False else []
    return _row(name, old, new, differences, "to the bit")


def within(name: str, old: Entry, new: Entry, reason: str) -> Row | None:
    """Losses within the bound of the run's dtype; answers may change, where two tokens were as likely."""
    before, after = old.quality.get("val_loss"), new.quality.get("val_loss")
    if before is None and not old.losses:
        return None
    if (bound := BOUNDS.get(old.dtype)) is None:
        return Row(
            "quality", name, MEASURE, "not compared", before, after, note=f"no bound for {old.dtype}, and {reason}"
        )
    differences = _steps(old, new, bound)
    lost = before is not None and (after is None or abs(after - before) > bound * abs(before))
    differences += ["validation loss"] if lost else []
    return _row(name, old, new, differences, f"within {bound:.2%} ({reason})")


def _row(name: str, old: Entry, new: Entry, differences: list[str], how: str) -> Row:
    """The verdict, given what changed."""
    ends = old.quality.get("val_loss"), new.quality.get("val_loss")
    if differences:
        note = f"not {how}: {', '.join(differences)}; losses by up to {_largest(old, new):.2g} of their value"
        return Row("quality", name, MEASURE, "moved", *ends, note=note)
    if (old.losses and not new.losses) or (old.predictions and not new.predictions):
        return Row("quality", name, MEASURE, "not compared", *ends, note="its curve or its answers are not there now")
    return Row("quality", name, MEASURE, "same", *ends, note=how)


def _steps(old: Entry, new: Entry, bound: float) -> list[str]:
    """From which step on training losses changed by more than `bound` of themselves, if they did."""
    if not old.losses or not new.losses:
        return []
    if old.steps != new.steps:
        return [f"training has steps {new.steps}, not {old.steps}"]
    pairs = zip(old.at, old.losses, new.losses, strict=True)
    return [f"training loss from step {step}" for step, a, b in pairs if abs(a - b) > bound * abs(a)][:1]


def _largest(old: Entry, new: Entry) -> float:
    """The largest relative change of a loss that both have."""
    pairs = list(zip(old.losses, new.losses, strict=False))
    before, after = old.quality.get("val_loss"), new.quality.get("val_loss")
    pairs += [(before, after)] if before is not None and after is not None else []
    return max((abs(a - b) / abs(a) for a, b in pairs if a), default=0.0)
