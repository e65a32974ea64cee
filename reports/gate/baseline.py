"""A baseline: what a sweep's runs measured, on what machine and with which versions, as a text file to review.

The file is YAML with one line a measure, so that a change of one is one line of a diff.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from harness.errors import UserError, first_line
from harness.files import hash_of, write_atomically
from harness.results.record import Record, flat_items
from harness.texts import from_yaml
from reports.gate.entries import SCHEMA, Baseline, Entry, Machine
from reports.gate.trace import alike, trace
from reports.read.run import Run
from reports.read.runs import UnusablePredictions, example_parts, finite
from reports.statistics.paired import scores_with_examples
from reports.statistics.scores import better

END = "...\n"
"""YAML's end of a document: a file without it has been cut."""
WIDEST = 16
"""Statistics of an example that a file keeps; a score of more (macro F1: three a class) has no paired test."""


def measured(runs: Sequence[Run], sweep: str, allocator: str | None = None, overrides: Sequence[str] = ()) -> Baseline:
    """What these runs measured, as a baseline that nobody has accepted yet. Raises UserError where they are none, or
    of several machines or versions."""
    recorded = [(run, run.record) for run in runs if run.record is not None]
    if not recorded:
        raise UserError(f"{sweep}: none of its {len(runs)} runs has a readable record; run it, or name other --results")
    machines = {_machine(record, allocator) for _, record in recorded}
    versions = {tuple(sorted(_versions(record).items())) for _, record in recorded}
    if len(machines) > 1 or len(versions) > 1:
        what = "machines" if len(machines) > 1 else "versions"
        raise UserError(f"{sweep}: its records are of {max(len(machines), len(versions))} {what}; measure it anew")
    grouped: dict[str, list[tuple[Run, Record]]] = defaultdict(list)
    for run, record in recorded:
        grouped[configuration(record)].append((run, record))
    for group in grouped.values():
        group.sort(key=lambda each: int(each[1].key.get("repeat", 0)))
    return Baseline(
        sweep=sweep,
        overrides=list(overrides),
        measured=max(record.started for _, record in recorded),
        machine=machines.pop(),
        versions=dict(versions.pop()),
        repeats=max(map(len, grouped.values())),
        runs=dict(zip(_names(list(grouped.values())), map(_entry, grouped.values()), strict=True)),
    )


def configuration(record: Record) -> str:
    """The hash of what was run: the key without its surroundings, the repeat, and the code of one's own, of which the
    gate is to say what a change of it does."""
    return hash_of(_without_code({n: v for n, v in record.key.items() if n not in ("environment", "repeat")}))[:12]


def _without_code(key: Any) -> Any:
    """A part of a key without the hashes of code of one's own."""
    if not isinstance(key, dict):
        return key
    return {name: _without_code(value) for name, value in key.items() if name != "own_code"}


def _machine(record: Record, allocator: str | None) -> Machine:
    environment = record.key["environment"]
    device, threads = str(environment["device"]), int(environment["threads"])
    return Machine(device=device, threads=threads, allocator=allocator, processor=record.processor)


def _versions(record: Record) -> dict[str, str]:
    return {name: str(value or "none") for name, value in record.key["environment"]["versions"].items()}


def _names(groups: list[list[tuple[Run, Record]]]) -> Iterator[str]:
    """A name for each configuration: the run's label, and what produces it where that is another's too."""
    labels = [group[0][0].label for group in groups]
    for label, group in zip(labels, groups, strict=True):
        record = group[0][1]
        seed = record.key["settings"]["seed"]
        name = f"{label} seed={seed}"
        same = [g for g, other in zip(groups, labels, strict=True) if other == label]
        if len(same) == 1:
            yield label
        elif len({g[0][1].key["settings"]["seed"] for g in same}) == len(same):
            yield name
        else:
            yield f"{name} {configuration(record)}"


def _entry(group: list[tuple[Run, Record]]) -> Entry:
    """One configuration's repeats."""
    run, record = group[0]
    overrides = [word for word in run.overrides.split(" ") if not word.startswith("repeat=")]
    settings = record.key["settings"]
    bad = [each for _, each in group if each.status != "ok"]
    done = [each for _, each in group if each.status == "ok"]
    common: dict[str, Any] = {
        "key": configuration(record),
        "overrides": " ".join(overrides),
        "seed": settings["seed"],
        "dtype": str(settings.get("dtype")),
    }
    if bad:
        return Entry(**common, exact={}, failed=f"{bad[0].status}: {bad[0].cause}")
    indices, examples = _examples(run)
    did = trace(run)
    return Entry(
        **common,
        exact=_exact(record),
        memory=_memory(done),
        throughput=[significant(each.throughput.tokens_per_second) for each in done if each.throughput],
        quality={name: finite(value) for name, value in _scores(record)},
        better={name: better([record], name) for name, _ in _scores(record)},
        indices=indices,
        examples=examples,
        steps=ranges(did.steps),
        losses=list(did.losses),
        predictions=did.predictions,
        alike=alike([each for each, _ in group]),
    )


def _scores(record: Record) -> list[tuple[str, float]]:
    """Scores that were made, finite or not; what is null with a reason was not."""
    return [(name, value) for name, value in record.quality.items() if value is not None]


def _exact(record: Record) -> dict[str, int]:
    """Numbers that do not vary, by dotted name: of parameters, and each phase's peak of what tensors hold."""
    parameters = record.parameters.model_dump() if record.parameters else {}
    peaks = {phase: peak.bytes for phase, peak in (record.ledger or {}).items()}
    return dict(flat_items({"parameters": parameters, "ledger": peaks}))


def _memory(records: list[Record]) -> dict[str, list[int]]:
    """Peaks that every repeat has."""
    each = [record.memory.model_dump() if record.memory else {} for record in records]
    names = [name for name in each[0] if all(values.get(name) is not None for values in each)]
    return {name: [values[name] for values in each] for name in names}


def _examples(run: Run) -> tuple[str, dict[str, str]]:
    """Indices and statistics of the test examples; nothing where the predictions cannot be used."""
    try:
        indices, parts = example_parts(run)
        names = [name for name in scores_with_examples(run) if parts[name].shape[1] <= WIDEST]
    except UnusablePredictions:
        return "", {}
    return ranges(indices), {name: ";".join(" ".join(f"{n:.6g}" for n in row) for row in parts[name]) for name in names}


def ranges(indices: Sequence[int]) -> str:
    """Ascending whole numbers, `0-3 7`."""
    spans: list[list[int]] = []
    for index in indices:
        if spans and spans[-1][1] == index - 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    return " ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def significant(value: float) -> float:
    """Rounded to ten significant digits, beyond which a file is no easier to review."""
    return float(f"{value:.10g}") if math.isfinite(value) else value


def write(path: Path, baseline: Baseline) -> None:
    """Write the file. Raises UserError where that is not possible, or a run of it failed."""
    if bad := [f"{name}: {entry.failed}; a baseline is made of finished runs" for name, entry in _failed(baseline)]:
        raise UserError(*bad)
    try:
        write_atomically(path, dump(baseline))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def _failed(baseline: Baseline) -> list[tuple[str, Entry]]:
    return [(name, entry) for name, entry in baseline.runs.items() if entry.failed]


def dump(baseline: Baseline) -> str:
    """The text of a file: sorted, a line a measure."""
    content = baseline.model_dump(exclude_defaults=True) | {"schema_version": SCHEMA}
    parts = [("schema_version",), sorted(content.keys() - {"schema_version", "runs"}), ("runs",)]
    return "".join(_yaml({name: content[name] for name in names}) for names in parts) + END


def _yaml(content: dict[str, Any]) -> str:
    return yaml.dump(content, Dumper=_Lines, sort_keys=True, allow_unicode=True, width=math.inf)


class _Lines(yaml.SafeDumper):
    """Lists of numbers, and mappings of a version or a reason, on one line."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
        plain = not any(isinstance(each, dict) for each in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain)


def load(path: Path) -> Baseline:
    """Read a file. Raises UserError with one line that says what is wrong with it."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no baseline there; make one: python -m reports baseline save SWEEP") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)}); name another file") from None


def parse(text: str, name: str) -> Baseline:
    """The baseline in a text. Raises UserError; `name` says whose text it is."""
    remedy = "restore it from version control, or save a new one"
    try:
        content = from_yaml(text, name)
    except UserError as error:
        raise UserError(f"{error}; {remedy}") from None
    if isinstance(content, dict) and not text.rstrip().endswith(END.strip()):
        raise UserError(f"{name}: not a whole baseline (its last line, `...`, is missing); {remedy}")
    if not isinstance(content, dict) or not isinstance(version := content.get("schema_version"), int):
        raise UserError(f"{name}: not a baseline (it has no schema_version); {remedy}")
    if version > SCHEMA:
        raise UserError(f"{name}: written in schema {version}, this version reads {SCHEMA}; upgrade, or save a new one")
    try:
        baseline = Baseline.model_validate(content)
        for entry in baseline.runs.values():
            for score in entry.examples:
                entry.parts(score)
            if len(entry.at) != len(entry.losses):
                raise ValueError(f"{len(entry.losses)} losses at {len(entry.at)} steps")
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{name}: not a baseline ({'.'.join(map(str, first['loc']))}: {first['msg']}); {remedy}"
        ) from None
    except ValueError as error:
        raise UserError(f"{name}: not a baseline (statistics of examples, or steps: {error}); {remedy}") from None
    if not baseline.runs:
        raise UserError(f"{name}: a baseline without runs; {remedy}")
    return baseline
