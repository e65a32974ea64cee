"""One row a run, raw numbers in the units that the column's name says; the CSV is this frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from statistics import fmean
from typing import Any

import pandas as pd

from harness.results.record import Record
from harness.results.sections import DEVICE_PARTS, OWNERS, Inference, highest
from reports.read.run import Run
from reports.read.runs import Sweep, finite
from reports.statistics.verdicts import Comparison, Verdict

FIELDS = {
    "method": "method",
    "rank": "key.settings.method.rank",
    "seed": "key.settings.seed",
    "repeat": "key.repeat",
    "device": "key.environment.device",
    "learning_rate": "learning_rate",
    "optimizer": "key.settings.train.optimizer",
    "step": "step",
    "scored_step": "scored_step",
    "test_examples": "test_examples",
    "answers_ended": "ended",
    "train_tokens": "train_tokens",
    "val_bits_per_byte": "bits_per_byte.validation",
    "base_val_bits_per_byte": "bits_per_byte.base_validation",
    "trainable_parameters": "parameters.trainable",
    "added_parameters": "parameters.added",
    "total_parameters": "parameters.total",
    "adapter_bytes": "parameters.adapter_bytes",
    "full_copy_bytes": "parameters.full_copy_bytes",
    "train_peak_bytes": "train_peak",
    "evaluate_peak_bytes": "evaluate_peak",
    "train_rss_growth_bytes": "memory.train_rss_growth",
    "evaluate_rss_growth_bytes": "memory.evaluate_rss_growth",
    "process_peak_rss_bytes": "memory.process_peak_rss",
    "train_cuda_allocated_bytes": "memory.train_cuda_allocated",
    "train_cuda_reserved_bytes": "memory.train_cuda_reserved",
    "evaluate_cuda_allocated_bytes": "memory.evaluate_cuda_allocated",
    "evaluate_cuda_reserved_bytes": "memory.evaluate_cuda_reserved",
    "device_peak_bytes": "device_memory.peak_bytes",
    **{f"device_{part}_bytes": f"device_memory.parts.{part}" for part in DEVICE_PARTS},
    "train_tokens_per_second": "throughput.tokens_per_second",
    "train_tokens_per_second_iqr": "throughput.tokens_per_second_iqr",
    "train_samples_per_second": "throughput.samples_per_second",
    "general_text_loss_before_nats_per_token": "forgetting.loss_before",
    "general_text_loss_after_nats_per_token": "forgetting.loss_after",
    "general_text_perplexity_before": "forgetting.perplexity_before",
    "general_text_perplexity_after": "forgetting.perplexity_after",
    "general_text_kl_nats_per_token": "forgetting.kl",
    "general_text_kl_std_nats_per_token": "forgetting.kl_std",
    "general_text_kl_95_percent_nats_per_token": "forgetting.kl_quantiles.95%",
    "general_text_agreement": "forgetting.agreement",
    "panel_share_before": "forgetting.panel_before",
    "panel_share_after": "forgetting.panel_after",
    "panel_items": "forgetting.panel_items",
    "panel_lost": "forgetting.panel_lost",
    "panel_gained": "forgetting.panel_gained",
    "typos_share": "typos.share",
    "typos_agreement": "typos.agreement",
    "total_seconds": "seconds.total",
}
"""Column -> the field of the record that it is read from."""


DERIVED = {
    "trainable_percent_of_total": "parameters.trainable",
    "general_text_loss_change_nats_per_token": "forgetting.loss_after",
    "panel_share_change": "forgetting.panel_after",
    "planned_peak_bytes": "planned",
    "plan_error_percent": "planned",
    "ledger_peak_bytes": "ledger",
    "ledger_peak_phase": "ledger",
    **{f"ledger_peak_{owner}_bytes": "ledger" for owner in OWNERS},
    "device_residual_percent": "device_memory",
    "typos_score": "typos",
    "paraphrases_mean_score": "paraphrases",
    "paraphrases_lowest_score": "paraphrases",
    "paraphrases_agreement": "paraphrases",
    "prefill_ms": "inference",
    "decode_ms_per_token": "inference",
}
"""Column -> a field of the record whose absence explains that of the column."""

QUALITY_ORDER = (
    *("val_loss", "bleu", "nist", "nist_pymteval", "meteor", "rouge_l", "cider"),
    *("rouge1", "rouge2", "rougeL", "rougeLsum", "ser"),
)
"""The order of scores in tables; others follow."""


@lru_cache(maxsize=16)
def quality_columns(sweep: Sweep) -> dict[str, str]:
    """Column -> field, of every score that a record of the sweep names, and of its tasks of lm-evaluation-harness."""
    names = {name for record in sweep.recorded for name in (*record.quality, *record.base_quality)}
    ordered = [name for name in QUALITY_ORDER if name in names] + sorted(names - set(QUALITY_ORDER))
    tasks = {
        f"{task} {metric.removesuffix(',none')}": f"lm_eval.{task}.after.{metric}"
        for record in sweep.recorded
        for task, scores in (record.lm_eval or {}).items()
        for metric in scores.after
    }
    return {quality_column(name): f"quality.{name}" for name in ordered} | tasks


def quality_column(name: str) -> str:
    """The column of a score."""
    return "val_loss_nats_per_token" if name == "val_loss" else name


def value_at(record: Record, path: str) -> Any:
    """The value at a dotted path through fields and mappings, or None."""
    section, _, rest = path.partition(".")
    if section == "key":
        return record.flat_key.get(rest)
    value: Any = record
    for name in _names(path):
        if value is None:
            return None
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return finite(value) if isinstance(value, float) else value


@cache
def _names(path: str) -> list[str]:
    return path.split(".")


def why_missing(record: Record, path: str) -> str:
    """Why the value at a path is missing: the record's own reason, for the field or for what it belongs to."""
    parts = path.split(".")
    value: Any = record
    for name in parts:
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    if isinstance(value, float):
        return f"{parts[-1]} is not a finite number ({value})"
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)] + parts[-1:]
    reasons = [record.null_reasons[name] for name in names if name in record.null_reasons]
    return reasons[0] if reasons else "not recorded"


def tidy(sweep: Sweep, comparison: Comparison) -> pd.DataFrame:
    """A line a run in the sweep's order, indexed by run id; a run without a record has its status and nothing else."""
    fields = FIELDS | quality_columns(sweep)
    rows = [
        _row(sweep, run, fields, comparison.verdicts.get(run.id, Verdict()), comparison.score) for run in sweep.runs
    ]
    columns = {name: _series([row[name] for row in rows]) for name in rows[0]} if rows else {}
    return pd.DataFrame(columns).set_axis([run.id for run in sweep.runs], axis=0)


def _row(sweep: Sweep, run: Run, fields: dict[str, str], verdict: Verdict, score: str | None) -> dict[str, Any]:
    """The values of one run; change, p-value and verdict are those of its row."""
    record = run.record
    row: dict[str, Any] = {
        "sweep": sweep.name,
        "run_id": run.id,
        "label": run.label,
        "overrides": run.overrides,
        "status": run.status,
        "cause": run.problem if record is None else record.cause,
    }
    row |= {column: None if record is None else value_at(record, path) for column, path in fields.items()}
    row["rank"] = row["rank"] if isinstance(row["rank"], int) else None
    parameters = record.parameters if record else None
    row["trainable_percent_of_total"] = (
        100 * parameters.trainable / parameters.total if parameters and parameters.total else None
    )
    text, panel = "general_text_loss_{}_nats_per_token", "panel_share_{}"
    row[text.format("change")] = _difference(row[text.format("after")], row[text.format("before")])
    row[panel.format("change")] = _difference(row[panel.format("after")], row[panel.format("before")])
    row |= _memory(record) | _readings(record, score)
    row["score"] = score
    row["change"] = verdict.change
    row["change_low"] = verdict.interval.low if verdict.interval else None
    row["change_high"] = verdict.interval.high if verdict.interval else None
    row["p_holm"] = verdict.p
    row["verdict"] = verdict.text or None
    return row


def _memory(record: Record | None) -> dict[str, Any]:
    """The highest peak that was planned, and the one that was counted, with its owners."""
    planned = highest(record.planned)[1].bytes if record and record.planned else None
    ledger, device = (record.ledger, record.device_memory) if record else (None, None)
    phase, peak = highest(ledger) if ledger else (None, None)
    return {
        "planned_peak_bytes": planned,
        "plan_error_percent": 100 * (planned - peak.bytes) / peak.bytes if planned and peak else None,
        "ledger_peak_bytes": peak.bytes if peak else None,
        "ledger_peak_phase": phase,
        "device_residual_percent": 100 * device.residual_bytes / device.peak_bytes if device else None,
    } | {f"ledger_peak_{owner}_bytes": peak.by_owner[owner] if peak else None for owner in OWNERS}


def _readings(record: Record | None, score: str | None) -> dict[str, float | None]:
    """What the score that rows are compared by is where the test inputs are read otherwise."""
    paraphrases = (record.paraphrases if record else None) or []
    scores = [value for each in paraphrases if (value := finite(each.quality.get(score or ""))) is not None]
    return {
        "typos_score": finite(record.typos.quality.get(score or "")) if record and record.typos else None,
        "paraphrases_mean_score": fmean(scores) if scores else None,
        "paraphrases_lowest_score": min(scores) if scores else None,
        "paraphrases_agreement": fmean(each.agreement for each in paraphrases) if paraphrases else None,
    }


def _difference(after: float | None, before: float | None) -> float | None:
    """After minus before, where both are known."""
    return None if after is None or before is None else after - before


def _series(values: Sequence[Any]) -> pd.Series[Any]:
    """A nullable column: text, whole numbers or numbers, whichever holds every value unchanged."""
    known = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in known):
        return pd.Series([None if value is None else str(value) for value in values], dtype="string")
    # A column of nothing is whole, so that beside a whole one of another table it leaves that as it is.
    whole = all(isinstance(value, int) for value in known)
    return pd.Series(list(values), dtype="Int64" if whole else "Float64")


SERVED = ("merged", "unmerged", "base")
"""Which model of a run one would serve: the first of these that was measured."""


def single(record: Record) -> Inference | None:
    """How the model that one would serve answers a single request."""
    rows = next((answers for state in SERVED if (answers := (record.inference or {}).get(state))), [])
    return next((row for row in rows if row.batch_size == 1), None)
