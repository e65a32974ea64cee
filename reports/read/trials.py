"""The trials by which a tuned sweep chose its rows' settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.results.checksums import changed
from harness.results.folder import RunFolder, UnreadableRecord, read_record
from harness.results.record import Record
from harness.results.tuned import Trial
from reports.read.rows import RATE, SEED
from reports.read.run import Run


@dataclass(frozen=True)
class Cost:
    """What trials took."""

    trials: int
    known: int
    """Those of which it is known; the figures below are of these."""
    tokens: int
    seconds: float


def trials(run: Run) -> list[Record]:
    """The records of a row's trials that can be read, by learning rate and seed."""
    records = []
    for name in run.tuned.trials if run.tuned else ():
        folder = RunFolder.of(run.folder.results, name)
        try:
            if not changed(folder.path, folder.record.name):
                records.append(read_record(folder.record))
        except (OSError, UnreadableRecord):  # of a results folder that was copied without its trials
            continue
    return sorted(records, key=lambda record: (record.learning_rate or 0.0, str(record.flat_key.get(SEED))))


def cost(run: Run, records: Sequence[Record]) -> Cost:
    """What the trials of a row took."""
    whole = [record for record in records if record.train_tokens is not None and "total" in record.seconds]
    tokens = sum(record.train_tokens or 0 for record in whole)
    seconds = sum(record.seconds["total"] for record in whole)
    return Cost(len(run.tuned.trials) if run.tuned else 0, len(whole), tokens, seconds)


def losses(run: Run) -> dict[float, dict[str, float]]:
    """By learning rate, ascending, and seed the validation loss at the end of the row's trials: see `_at_end`."""
    return _at_end(run, lambda trial: trial.rungs[-1].val_loss)


def costs(run: Run) -> dict[float, dict[str, float]]:
    """The same of what chose: the validation loss, or another score, its negative where more of it is better."""
    return _at_end(run, lambda trial: trial.cost(trial.rungs[-1])[0])


def scores(run: Run) -> dict[float, dict[str, float]]:
    """The same of the score of the validation examples that chose; empty where the loss did."""
    return _at_end(run, lambda trial: answers.score if (answers := trial.rungs[-1].answers) else None)


def _at_end(run: Run, value: Callable[[Trial], float | None]) -> dict[float, dict[str, float]]:
    """By learning rate, ascending, and seed a value of the row's trials that went to the end; where other settings were
    tuned too, of those with the chosen ones."""
    own = _settings(run.record) if run.record else None
    by_rate: dict[float, dict[str, float]] = {}
    for record in trials(run):
        trial = record.trial
        if trial and record.learning_rate and trial.rungs[-1].step == trial.steps and own in (None, _settings(record)):
            known = value(trial)
            if known is not None and math.isfinite(known):
                by_rate.setdefault(record.learning_rate, {})[str(record.flat_key.get(SEED))] = known
    return by_rate


def _settings(record: Record) -> dict[str, object]:
    """The method's settings, its learning rate aside."""
    named = record.flat_key.items()
    return {name: value for name, value in named if name.startswith("settings.method.") and name != RATE}
