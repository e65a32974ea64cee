"""What the rows of a table share, in words, derived from their records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from harness.results.record import Record
from reports.read.run import Run, show
from reports.read.runs import Sweep, finite
from reports.statistics.scores import title_of
from reports.statistics.verdicts import is_trained
from reports.values.columns import signed

UNKNOWN = "not recorded"


def protocol(sweep: Sweep) -> str:
    """One paragraph: base model, data, training, scoring, seeds and environment. Where rows differ, every value."""
    records = sweep.recorded
    trained = [record for record in records if is_trained(record)]
    model = either(records, lambda record: record.model_description or UNKNOWN)
    data = either(records, lambda record: text_at(record, "data.name"))
    content = either(records, lambda record: text_at(record, "data.sha256"))
    examples = either(sweep_done(sweep), lambda record: show(record.test_examples))
    counted = seeds(records)
    sentences = [
        f"Base model: {model}.",
        f"Data: {data} (sha256 {content}).",
        f"Training: {either(trained, steps)}." if trained else "No row was trained.",
        f"Scored on {examples} test examples; evaluation: {either(records, decoding)}.",
        f"{counted[:1].upper()}{counted[1:]}.",
        f"Environment: {either(records, versions)}; {either(records, device)}.",
    ]
    return " ".join(sentences)


def sweep_done(sweep: Sweep) -> list[Record]:
    """The finished records, or all where none is."""
    return [record for _, record in sweep.done] or sweep.recorded


def either(records: list[Record], describe: Callable[[Record], str]) -> str:
    """What every record says, or each of the things they say."""
    texts = list(dict.fromkeys(describe(record) for record in records))
    return " or ".join(texts) if texts else UNKNOWN


def text_at(record: Record, path: str) -> str:
    """A field of the key as text, `not recorded` where it is absent."""
    value: Any = record.flat_key.get(path)
    return UNKNOWN if value is None else show(value)


def steps(record: Record) -> str:
    """Optimizer steps and the examples that each consumes."""
    size, times = (
        text_at(record, "settings.train.batch_size"),
        record.flat_key.get("settings.train.accumulation", 1),
    )
    accumulated = f" ({times} forward passes of {size})" if times != 1 else ""
    examples = str(int(size) * times) if size.isdigit() and isinstance(times, int) else size
    return f"{text_at(record, 'settings.train.steps')} steps of {examples} examples{accumulated}"


def decoding(record: Record) -> str:
    """The settings of evaluation, as `name value`."""
    fields = below(record, "settings", "eval")
    hidden = () if fields.get("typos") else ("typos", "typo_seed")
    return pairs({name: value for name, value in fields.items() if name not in hidden and value != []})


def versions(record: Record) -> str:
    """The versions of the libraries that are installed."""
    return pairs(below(record, "environment", "versions"))


def below(record: Record, *names: str) -> dict[str, Any]:
    """The part of the key that lies below these names, empty where there is none."""
    part: Any = record.key
    for name in names:
        part = part.get(name) if isinstance(part, dict) else None
    return part if isinstance(part, dict) else {}


def pairs(fields: dict[str, Any]) -> str:
    """`name value` of the fields that have one."""
    return ", ".join(f"{name} {show(value)}" for name, value in fields.items() if value is not None) or UNKNOWN


def device(record: Record) -> str:
    """The device and the number of threads."""
    threads = text_at(record, "environment.threads")
    return text_at(record, "environment.device") + (f", threads: {threads}" if threads != UNKNOWN else "")


def seeds(records: list[Record]) -> str:
    """How many seeds there are and which: `one seed (0)`. Repeats of a seed are counted separately."""
    trained = [record for record in records if is_trained(record)] or records
    known = sorted({text_at(record, "settings.seed") for record in trained}, key=lambda seed: (len(seed), seed))
    repeats = {text_at(record, "repeat") for record in records}
    counted = f"one seed ({known[0]})" if len(known) == 1 else f"{len(known)} seeds ({', '.join(known)})"
    return counted + (f", {len(repeats)} repeats" if len(repeats) > 1 else "")


def without_a_model(record: Record) -> str:
    """`name score value` of the answers that need no model; a mixture of tasks has those of each."""
    return ", ".join(
        score_list({name: value}, "accuracy " if name.rpartition("/")[2] == "most_frequent_class" else "BLEU ")
        for name, value in record.baselines.items()
    )


def reference_lines(sweep: Sweep) -> list[str]:
    """Scores that need no training: of answers that need no model, and of the untouched base."""
    lines = []
    for values, rows in grouped(sweep, without_a_model).items():
        lines.append(f"Without a model{of_rows(rows, sweep)}: {values}.")
    for values, rows in grouped(sweep, lambda record: score_list(record.base_quality)).items():
        lines.append(f"The untouched base{of_rows(rows, sweep)}: {values}.")
    return lines


def grouped(sweep: Sweep, describe: Callable[[Record], str]) -> dict[str, list[Run]]:
    """What the finished rows say, if anything, and which say it."""
    by_text: dict[str, list[Run]] = defaultdict(list)
    for run, record in sweep.done:
        if text := describe(record):
            by_text[text].append(run)
    return by_text


def score_list(scores: dict[str, Any], unit: str = "") -> str:
    """`name value, name value` of the known scores."""
    return _score_list(tuple(scores.items()), unit)


@lru_cache(maxsize=64)
def _score_list(scores: tuple[tuple[str, Any], ...], unit: str) -> str:
    texts = []
    for name, value in scores:
        if (number := finite(value)) is not None:
            decimals = 3 if name == "val_loss" or abs(number) <= 1.5 else 2
            texts.append(f"{title_of(name)} {unit}{signed(f'{number:.{decimals}f}')}")
    return ", ".join(texts)


def of_rows(rows: list[Run], sweep: Sweep) -> str:
    """Which rows are meant, where it is not all the finished ones."""
    return "" if len(rows) == len(sweep.done) else f" (rows {'; '.join(run.label for run in rows)})"
