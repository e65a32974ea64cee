"""Published tables with ours beside them: one table a score, one of counts, one of what differs in protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from reports.published.files import Paper, Row
from reports.published.match import Counterpart, Setting, counterparts, failed, settings
from reports.read.run import show
from reports.read.runs import Sweep, UnusablePredictions, finite
from reports.statistics.intervals import Interval
from reports.statistics.paired import interval
from reports.statistics.scores import over_seeds, title_of
from reports.values.columns import signed
from reports.values.frame import value_at, why_missing
from reports.values.notes import Notes
from reports.values.protocol import reference_lines
from reports.values.table import MISSING, Cell, Heading, Table


@dataclass(frozen=True)
class Line:
    """A published row with one of its counterparts, or with the reason why there is none."""

    row: Row
    ours: Counterpart | None
    missing: str
    remarks: tuple[str, ...] = ()
    """What a reader should know of ours."""


def paper_tables(paper: Paper, name: str, sweeps: Sequence[Sweep]) -> list[Table]:
    """The tables of a published one beside these sweeps."""
    lines = [line for row in paper.rows for line in _lines(paper, row, sweeps)]
    tables = [_score_table(paper, name, score, lines) for score in paper.scores]
    tables += [_quantity_table(paper, name, lines)] if paper.quantities else []
    if not tables:
        headings, cells = _labels(paper, lines)
        about = f"Published figures alone, {'; '.join(dict.fromkeys(line.missing for line in lines))}."
        tables = [_table(name, about, headings, cells, Notes(), pd.DataFrame([_frame_row(paper, x) for x in lines]))]
    tables += _protocol_tables(paper, name, lines)
    about = "Second hand: not checked in the paper itself. " if paper.second_hand else ""
    about += f"Published: {paper.paper}, arXiv {paper.arxiv}, {paper.table}; {paper.model}, {paper.dataset}. "
    about += f"Checked against: {paper.provenance}."
    first = tables[0]
    bases = [f"{sweep.name}: {line}" for sweep in sweeps for line in reference_lines(sweep)]
    notes = (*first.notes, *(("", note) for note in (*paper.notes, *bases)))
    tables[0] = Table(first.title, (about, *first.paragraphs), first.headings, first.rows, notes, first.frame)
    return tables


def command(sweep: str, paper: Paper) -> str:
    """What runs a sweep."""
    return " ".join(filter(None, ["python -m harness", f"+sweep={sweep}", paper.data]))


def _lines(paper: Paper, row: Row, sweeps: Sequence[Sweep]) -> list[Line]:
    ours = counterparts(paper, row, sweeps)
    lost = [f"{run.label}: {run.record.status}: {run.record.cause}" for run in failed(paper, row, sweeps) if run.record]
    known = [*([row.note] if row.note else []), *lost]
    if ours:
        warnings = [dict.fromkeys(text for record in each.group.records for text in record.warnings) for each in ours]
        return [Line(row, each, "", (*known, *texts)) for each, texts in zip(ours, warnings, strict=True)]
    if row.no_counterpart:
        return [Line(row, None, f"no counterpart: {row.no_counterpart}")]
    if not paper.sweep:
        return [Line(row, None, "no run here, and no sweep for one")]
    full, scaled = paper.sweeps()
    how = f"not run: {command(full, paper)}, or, scaled, for the rows that it has, {command(scaled, paper)}"
    return [Line(row, None, "; ".join(lost) or how)]


def _frame_row(paper: Paper, line: Line) -> dict[str, Any]:
    """What every table's raw numbers begin with."""
    ours = line.ours
    printed = [f"{name}={value}" for name in paper.labels if (value := paper.printed(line.row, name)) is not None]
    return {"row": ", ".join(printed), "sweep": ours and ours.sweep, "ours": ours and ours.label}


def _labels(paper: Paper, lines: Sequence[Line], omitted: Iterable[str] = ()) -> tuple[list[Heading], list[list[Cell]]]:
    """The columns that say what was published, and which run of ours is beside it."""
    names = [name for name in paper.labels if name not in omitted]
    cells = [[Cell(MISSING if (v := paper.printed(line.row, n)) is None else show(v)) for line in lines] for n in names]
    headings = [Heading(n, type(paper.printed(lines[0].row, n)) in (int, float)) for n in names]
    several = len({line.ours.sweep for line in lines if line.ours}) > 1
    texts = [(f"{o.sweep}: {o.label}" if several else o.label) if (o := line.ours) else MISSING for line in lines]
    if any(line.ours for line in lines):
        headings.append(Heading("run", False))
        cells.append([Cell(text) for text in texts])
    return headings, cells


def _score_table(paper: Paper, name: str, column: str, lines: Sequence[Line]) -> Table:
    """Published value, ours over seeds, intervals and difference, in the unit of our records."""
    score, notes = paper.scores[column], Notes()
    numbers: list[dict[str, Any]] = []
    marks: list[dict[str, tuple[str, ...]]] = []
    for line in lines:
        published, std = paper.published(line.row, column), paper.printed(line.row, score.std)
        theirs: dict[str, Any] = _frame_row(paper, line) | {"score": column, "published": published}
        theirs["published_std"] = std * score.factor if isinstance(std, (int, float)) else None
        own, marked = _ours(paper, line, score.ours, published, notes)
        numbers.append(theirs | own)
        marks.append(marked)
    frame = pd.DataFrame(numbers)
    for end in ("low", "high"):
        frame[f"interval_{end}"] = [getattr(each, end) if each else None for each in frame["interval"]]
    frame = frame.drop(columns="interval")
    # One precision for what is compared, whichever column it stands in.
    known = [n[key] for n in numbers for key in ("published", "mean") if n[key] is not None]
    spec = ".3f" if max(map(abs, known), default=0) < 10 else ".2f"
    headings, cells = _labels(paper, lines)
    records = [record for line in lines if line.ours for record in line.ours.group.records]
    for key, title in COLUMNS.items():
        if key in ("published", "difference") and frame["published"].isna().all():
            continue
        if key in ("seeds", "interval", "difference") and not records:
            continue
        headings.append(Heading(title, True))
        cells.append([Cell(_text(n, key, spec), m.get(key, ())) for n, m in zip(numbers, marks, strict=True)])
    unit = f" Published values times {score.factor:g}: the unit of our records." if score.factor != 1 else ""
    scorers = [record.signatures[score.ours] for record in records if score.ours in record.signatures]
    by = " or ".join(dict.fromkeys(scorers)) or MISSING
    about = f"Scored by: published, {score.by or paper.scorer}; ours, {by}.{unit}"
    about += f" {INTERVALS}" if frame["interval_low"].notna().any() else ""
    ours = title_of(score.ours)
    title = f"{name}: {ours if ours.startswith(column) else f'{column} ({ours})'}"
    return _table(title, about, headings, cells, notes, frame)


INTERVALS = (
    "Ours: mean and sample standard deviation over seeds; intervals by a bootstrap of the test examples, and of seeds "
    "where there are several, or by Student's t over seeds where a mark says so."
)
COLUMNS = {
    "published": "published",
    "mean": "ours",
    "seeds": "seeds",
    "interval": "95% interval",
    "difference": "ours less published",
}


def _text(numbers: dict[str, Any], key: str, spec: str) -> str:
    """A cell of `_score_table`."""
    value = numbers[key]
    if value is None:
        return MISSING
    if isinstance(value, Interval):
        return f"[{signed(format(value.low, spec))}, {signed(format(value.high, spec))}]"
    if key == "seeds":
        return str(value)
    if key == "difference":
        return signed(format(value, f"+{spec}"))
    std = numbers[{"published": "published_std", "mean": "std"}[key]]
    return signed(format(value, spec)) + (f" ± {std:{spec}}" if std is not None else "")


def _ours(
    paper: Paper, line: Line, score: str, published: float | None, notes: Notes
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Our numbers of a line, and the marks of its cells."""
    empty: dict[str, Any] = dict.fromkeys(("mean", "std", "seeds", "interval", "difference"))
    if line.ours is None:
        return empty, {"mean": notes.mark(line.missing)}
    records = line.ours.group.records
    marks = {"mean": tuple(mark for text in line.remarks for mark in notes.mark(text))}
    data = (line.row.protocol or paper.protocol).get("data.name")
    theirs = records[0].key.get("data", {}).get("name")
    other: tuple[str, ...] = ()
    if published is not None and data not in (None, theirs):
        other = notes.mark(f"other data: published on {data}, ours on {theirs}")
    values = [value for record in records if (value := finite(record.quality.get(score))) is not None]
    if len(values) < len(records):
        reason = next(why_missing(r, f"quality.{score}") for r in records if finite(r.quality.get(score)) is None)
        return empty, {"mean": (*marks["mean"], *(other or notes.mark(reason)))}
    summary = over_seeds(score, values)
    own = empty | {"mean": summary.mean, "std": summary.std, "seeds": summary.n}
    try:
        own["interval"] = interval(line.ours.group.runs, score)
    except UnusablePredictions as problem:
        own["interval"] = summary.interval
        kind = "over seeds alone" if summary.interval else "not known"
        marks["interval"] = notes.mark(f"interval {kind}: {problem}")
    if other:
        marks["difference"] = other
    elif published is not None:
        own["difference"] = summary.mean - published
    return own, marks


def _quantity_table(paper: Paper, name: str, lines: Sequence[Line]) -> Table:
    """Counts and sizes as printed, as their formulas give them, and as our records have them."""
    notes, pairs = Notes(), [(line, quantity) for line in lines for quantity in paper.quantities]
    numbers, ours = [], []
    for line, quantity in pairs:
        formula, path = line.row.formulas.get(quantity), paper.quantities[quantity]
        records = line.ours.group.records if line.ours and path else []
        values = [value for record in records if (value := value_at(record, path or "")) is not None]
        numbers.append(
            _frame_row(paper, line)
            | {"quantity": quantity, "printed": paper.printed(line.row, quantity)}
            | {"formula": formula and formula.formula, "computed": formula and formula.value}
            | {"unit": formula and formula.unit, "measured": fmean(values) if values else None}
        )
        missing = line.missing or "no record holds it"
        ours.append(Cell(f"{fmean(values):,.0f}") if values else Cell(MISSING, notes.mark(missing)))
    headings, cells = _labels(paper, [line for line, _ in pairs], omitted=paper.quantities)
    for title in ("quantity", "printed", "formula", "computed"):
        texts = [_computed(n["computed"], n["unit"]) if title == "computed" else n[title] for n in numbers]
        if title != "quantity" or len(paper.quantities) > 1:
            headings.append(Heading(title, title == "computed"))
            cells.append([Cell(MISSING if text is None else show(text)) for text in texts])
    headings.append(Heading("ours", True))
    about = "As printed, as its own formula gives it, and as recorded here."
    return _table(f"{name}: counts", about, headings, [*cells, ours], notes, pd.DataFrame(numbers))


def _computed(value: float | None, unit: str | None) -> str | None:
    """From a thousand on a whole number, below it four digits."""
    if value is None:
        return None
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.4g} {unit}"


def _protocol_tables(paper: Paper, name: str, lines: Sequence[Line]) -> list[Table]:
    """A table of the settings that are not, or not known to be, the same; rows of one protocol together."""
    rows: list[tuple[str, Setting]] = []
    equal: list[str] = []
    for protocol in {repr(p): p for line in lines if (p := line.row.protocol or paper.protocol)}.values():
        mine = [line for line in lines if line.ours and (line.row.protocol or paper.protocol) == protocol]
        which = dict.fromkeys(_frame_row(paper, line)["row"] for line in mine)
        group = "all" if len(mine) == sum(line.ours is not None for line in lines) else "; ".join(which)
        compared = settings(protocol, [line.ours for line in mine if line.ours]) if mine else []
        rows += [(group, setting) for setting in compared if not setting.equal]
        equal += [setting.name for setting in compared if setting.equal]
    if not rows:
        return []
    sweeps = list(dict.fromkeys(sweep for _, setting in rows for sweep in setting.ours))
    about_rows: list[dict[str, Any]] = [{"rows": g, "setting": s.name, "published": s.published} for g, s in rows]
    ours = pd.DataFrame([s.ours for _, s in rows], columns=sweeps)
    frame = pd.concat([pd.DataFrame(about_rows), ours], axis="columns")
    shown = [column for column in frame.columns if column != "rows" or frame["rows"].nunique() > 1]
    cells = [[Cell(MISSING if pd.isna(text) else str(text)) for text in frame[column]] for column in shown]
    about = "Settings in which ours differ from what was published, or of which it is not known."
    about += f" Equal: {', '.join(dict.fromkeys(equal))}." if equal else ""
    return [_table(f"{name}: protocol", about, [Heading(column, False) for column in shown], cells, Notes(), frame)]


def _table(
    title: str, about: str, headings: list[Heading], cells: list[list[Cell]], notes: Notes, frame: pd.DataFrame
) -> Table:
    """Columns of cells as a table."""
    rows = tuple(zip(*cells, strict=True))
    return Table(title, (about,), tuple(headings), rows, tuple(notes.marked), frame)
