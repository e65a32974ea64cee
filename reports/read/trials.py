"""The trials by which a tuned sweep chose its rows' settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.results.checksums import changed
from harness.results.folder import RunFolder, UnreadableRecord, read_record
from harness.results.record import Record
from reports.read.run import Run


@dataclass(frozen=True)
class Cost:
    """What trials took."""

    trials: int
    known: int
    """Those of them whose record could be read; the figures below are of these."""
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
    return sorted(records, key=lambda record: (record.learning_rate or 0.0, str(record.flat_key.get("settings.seed"))))


def cost(run: Run, records: Sequence[Record]) -> Cost:
    """What the trials of a row took."""
    tokens = sum(record.train_tokens or 0 for record in records)
    seconds = sum(record.seconds.get("total", 0.0) for record in records)
    return Cost(len(run.tuned.trials) if run.tuned else 0, len(records), tokens, seconds)
