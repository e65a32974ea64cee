"""How fast the models of runs answer: a line a run, model (base, unmerged, merged) and batch size."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pandas as pd

from harness.errors import UserError
from harness.results.record import Record
from harness.results.sections import Inference
from reports.read.runs import Sweep
from reports.values import columns as c
from reports.values.asked import Asked
from reports.values.notes import some
from reports.values.table import MISSING, Cell, Heading, Table

TEXTS = {"label": "row", "seed": "seed", "model": "model", "batch_size": "batch", "prompt_tokens": "prompt [tokens]"}
TEXTS |= {"new_tokens": "new [tokens]", "repeats": "answers"}
TIMES = {
    "prefill_seconds": "prefill [ms]",
    "prefill_iqr_seconds": "IQR [ms]",
    "decode_seconds_per_token": "decode [ms/token]",
    "decode_iqr_seconds": "IQR [ms]",
}
BYTES = {"rss_growth_bytes": "memory growth", "cuda_allocated_bytes": "peak CUDA"}
PEAKS = ("rss_growth", "cuda_allocated")
"""Fields of which one is null on every device: its absence needs no note."""
RATIOS = {"prefill_over_base": "prefill, base = 1", "decode_over_base": "decode, base = 1"}
ABOUT = (
    "Prompts of fixed length are answered greedily with a fixed number of tokens. Times are medians over answers "
    "(prefill) and over their steps (decode), IQR the distance between the quartiles; tokens/s count the new tokens of "
    "the whole batch, prefill included. A base that several rows share was measured once, at a time of its own, and "
    "stands with the first of them."
)


def tables(asked: Asked) -> list[Table]:
    """`--table inference`. Raises UserError where the sweep has none."""
    return [latency_table(asked.sweep)]


def latency_table(sweep: Sweep) -> Table:
    """Every run's models at every batch size. Raises UserError where none was measured."""
    lines = [line for run, record in sweep.done for line in _lines(sweep.name, run.label, record)]
    if not lines:
        why = sorted({record.null_reasons.get("inference", "not recorded") for _, record in sweep.done})
        raise UserError(
            f"{sweep.name}: no run has measured how it answers ({'; '.join(why) or 'none is done'}); "
            "run it with inference.batch_sizes=[1,4] and force=true"
        )
    frame = pd.DataFrame(lines).convert_dtypes()  # whole numbers stay whole beside missing ones
    measured = [name for name in frame.columns if name not in ("sweep", "run", "label", "seed", "model")]
    repeated = frame["model"].eq("base") & frame.duplicated(["model", *measured])
    shown = frame[~repeated]
    headings, cells = [], []
    for name, title in TEXTS.items():
        if name != "seed" or shown["seed"].nunique() > 1:
            headings.append(Heading(title, name not in ("label", "model")))
            cells.append([Cell(str(value)) for value in shown[name]])
    for name, (title, texts) in _numbers(shown).items():
        if shown[name].notna().any():
            headings.append(Heading(title, True))
            cells.append([Cell(text) for text in texts])
    notes = tuple(("", note) for note in _notes(sweep))
    return Table(f"{sweep.name}: inference", (ABOUT,), tuple(headings), tuple(zip(*cells, strict=True)), notes, frame)


def _lines(sweep: str, label: str, record: Record) -> list[dict[str, Any]]:
    """The lines of one run."""
    base = {_lengths(row): row for row in (record.inference or {}).get("base", [])}
    return [
        {"sweep": sweep, "run": record.id, "label": label, "seed": record.flat_key.get("settings.seed"), "model": state}
        | {"batch_size": row.batch_size, "prompt_tokens": row.prompt_tokens, "new_tokens": row.new_tokens}
        | {"repeats": row.repeats, "prefill_seconds": row.prefill_seconds, "prefill_iqr_seconds": row.prefill_iqr}
        | {"decode_seconds_per_token": row.decode_seconds_per_token, "decode_iqr_seconds": row.decode_iqr}
        | {"tokens_per_second": row.tokens_per_second}
        | {"rss_growth_bytes": row.rss_growth, "cuda_allocated_bytes": row.cuda_allocated}
        | _over(row, base.get(_lengths(row)))
        for state, rows in (record.inference or {}).items()
        for row in rows
    ]


def _lengths(row: Inference) -> tuple[int, int, int]:
    return row.batch_size, row.prompt_tokens, row.new_tokens


def _over(row: Inference, base: Inference | None) -> dict[str, float | None]:
    """How many times as long as the base's."""
    decode, before = row.decode_seconds_per_token, base and base.decode_seconds_per_token
    return {
        "prefill_over_base": row.prefill_seconds / base.prefill_seconds if base else None,
        "decode_over_base": decode / before if decode and before else None,
    }


def _numbers(frame: pd.DataFrame) -> dict[str, tuple[str, list[str]]]:
    """By column: its heading, and every value as text."""
    columns = {name: (title, _texts(1000 * frame[name].astype(float), "speed")[1]) for name, title in TIMES.items()}
    columns["tokens_per_second"] = ("tokens/s", _texts(frame["tokens_per_second"], "speed")[1])
    for name, title in BYTES.items():
        unit, texts = _texts(frame[name], "memory")
        columns[name] = (f"{title} [{unit}]", texts)
    ratios = {name: [MISSING if pd.isna(value) else f"{value:.2f}" for value in frame[name]] for name in RATIOS}
    return columns | {name: (RATIOS[name], texts) for name, texts in ratios.items()}


def _texts(values: pd.Series[Any], kind: c.Kind) -> tuple[str, list[str]]:
    """The unit of a column, and each value as text, a dash for what is not known."""
    unit, write = c.writer(kind, values.dropna())
    return unit, [MISSING if pd.isna(value) else write(float(value)) for value in values]


def _notes(sweep: Sweep) -> list[str]:
    """Why something is missing, and of which rows."""
    rows: dict[str, list[str]] = defaultdict(list)
    for run, record in sweep.done:
        if record.inference is None and "inference" not in record.null_reasons:
            rows["not recorded"].append(run.label)
        for name, why in record.null_reasons.items():
            if name.partition(".")[0] == "inference" and name.rpartition(".")[2] not in PEAKS:
                rows[f"{name.partition('.')[2] or 'nothing measured'}: {why}"].append(run.label)
    return [f"{why} ({some(list(dict.fromkeys(labels)))})." for why, labels in rows.items()]
