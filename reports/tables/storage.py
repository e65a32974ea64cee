"""Bytes on disk of many tasks: one base with an adapter for each, against a full copy for each."""

from __future__ import annotations

import pandas as pd

from harness.errors import UserError
from reports.read.runs import Sweep
from reports.statistics.verdicts import is_trained
from reports.values import columns as c
from reports.values.asked import Asked
from reports.values.table import Cell, Heading, Table

TASKS = (1, 10, 100)
"""Numbers of tasks that the table shows."""
COPIES = "full copies"


def tables(asked: Asked) -> list[Table]:
    """`--table storage`. Raises UserError where the sweep has none."""
    return [storage_table(asked.sweep)]


def storage_table(sweep: Sweep) -> Table:
    """For each trained row the bytes of N tasks, below those of N full copies. Raises UserError where there is none."""
    trained = [(run, record.parameters) for run, record in sweep.done if is_trained(record) and record.parameters]
    if not trained:
        raise UserError(f"{sweep.name}: no row keeps anything on disk, since none is trained; use --table methods")
    whole = sorted({parameters.full_copy_bytes for _, parameters in trained})
    rows = [(COPIES, size, 0) for size in whole]
    for run, parameters in trained:
        # Where every weight is trained, what is kept for a task is the model, and no base is needed beside it.
        base = 0 if parameters.trainable == parameters.total else parameters.full_copy_bytes
        rows.append((run.label, parameters.adapter_bytes, base))
    frame = pd.DataFrame(
        [
            {"row": label, "task_bytes": each, "base_bytes": base}
            | {f"tasks_{n}_bytes": base + n * each for n in TASKS}
            for label, each, base in rows
        ]
    )
    titles = {"task_bytes": "each task", "base_bytes": "shared base"}
    titles |= {f"tasks_{n}_bytes": f"{n} task{'s' if n > 1 else ''}" for n in TASKS}
    headings, cells = [Heading("row", False)], [[Cell(label) for label in frame["row"]]]
    for column, title in titles.items():
        unit, texts = c.written("disk", frame[column])
        headings.append(Heading(f"{title} [{unit}]", True))
        cells.append([Cell(text) for text in texts])
    about = (
        "Bytes on disk of N tasks: one base in the run's dtype and an adapter for each, or a full copy for each. "
        "A row whose every weight is trained is a copy itself."
    )
    return Table(f"{sweep.name}: storage", (about,), tuple(headings), tuple(zip(*cells, strict=True)), (), frame)
