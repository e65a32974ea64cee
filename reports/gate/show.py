"""A comparison as text for a terminal, Markdown for a pull request, JUnit XML for a CI server."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence

from reports.gate.compare import FAMILIES
from reports.gate.entries import Baseline
from reports.gate.repeats import MEASURE
from reports.gate.rows import FAILING, Comparison, Row, Verdict
from reports.values.notes import some

MISSING = "—"
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has not, in no way of writing them."""
VERDICTS: tuple[Verdict, ...] = ("regression", "moved", "improvement", "same", "not compared")
MOVED = (
    "moved: the run is another computation than it was, whether its scores show it or not. If it should be (a mended "
    "method, a new default), `baseline accept` says so; else a method may have lost its effect."
)


def conclusion(comparison: Comparison) -> str:
    """One line: the runs that could not be compared, loudly, and how many tests said what."""
    counts = Counter(row.verdict for row in comparison.rows)
    verdicts = ", ".join(
        f"{counts[verdict]} {verdict}{'s' if verdict in ('regression', 'improvement') and counts[verdict] != 1 else ''}"
        for verdict in VERDICTS
        if counts[verdict] or verdict == "regression"
    )
    names = [name for name, _ in comparison.absent]
    loud = f"{len(names)} RUN{'S' * (len(names) != 1)} NOT COMPARED ({some(names)}); " if names else ""
    return f"{loud}{len(comparison.rows)} tests: {verdicts}."


def text(comparison: Comparison, before: Baseline, after: Baseline, markdown: bool) -> str:
    """What moved, by how much, how sure, with which libraries; then what was not compared."""
    moved = comparison.of("regression", "moved", "improvement")
    title = f"{before.sweep}: {conclusion(comparison)}"
    lines = [f"### {title}" if markdown else title, ""]
    if comparison.absent:
        lines += [f"- {name}: not compared, since {why}." for name, why in comparison.absent]
        lines += ["- `baseline accept` takes over what there is; `--strict` fails on it.", ""]
    if moved:
        head = ("", "run", "measure", "before", "now", "change", "p", "test")
        lines += [*_table([head, *(_cells(row) for row in moved)], markdown), ""]
    changed = [f"{name} {old} → {new}" for name, old, new in comparison.versions]
    lines.append("Libraries that changed: " + (", ".join(changed) or "none") + ".")
    if comparison.of("moved"):
        lines.append(MOVED)
    lines.append(
        f"Baseline of {before.measured} ({before.machine.device}, threads: {before.machine.threads}), measured "
        f"{after.measured}. Unchanged code reports a regression in at most {comparison.alpha:.1%} of comparisons "
        f"(Holm in each of {FAMILIES} families of tests)."
    )
    skipped = Counter((row.kind, row.measure, row.note) for row in comparison.of("not compared"))
    remarks = list(comparison.remarks)
    remarks += [f"{measure} of {n} runs: not compared ({note})." for (_, measure, note), n in skipped.items()]
    same = comparison.of("same")
    remarks += [f"{row.run}, {row.measure}: {change(row)}, {row.note}." for row in same if "second" in row.note]
    hows = Counter(row.note for row in same if row.measure == MEASURE)
    remarks += [f"{MEASURE[0].upper()}{MEASURE[1:]} of {n} runs: {how}." for how, n in hows.items()]
    lines += [f"- {remark}" for remark in remarks]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        *(row.verdict, row.run, f"{row.kind}: {row.measure}", number(row.before), number(row.after), change(row)),
        *("" if row.p is None else f"{row.p:.1g}", row.note),
    )


def number(value: float | None) -> str:
    """Whole, or to five significant digits."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1e5 else f"{value:,.5g}"


def change(row: Row) -> str:
    """How far a measure went: scores in their unit, others in percent."""
    if row.before is None or row.after is None:
        return MISSING
    if row.kind == "quality" or not row.before:
        return f"{row.after - row.before:+.4g}"
    return f"{100 * (row.after / row.before - 1):+.2f} %"


def _table(rows: Sequence[tuple[str, ...]], markdown: bool) -> list[str]:
    if markdown:
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        return [lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]
    return columns(rows)


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def junit(comparison: Comparison, name: str, strict: bool = False) -> str:
    """A test case for each test and each run that only one side has. What regressed or moved is a failure, as is such a
    run where that is strict; what was not compared is skipped."""
    failures, absent = comparison.of(*FAILING), comparison.absent
    suite = ET.Element(
        "testsuite",
        name=f"regressions of {name}: {conclusion(comparison)}",
        tests=str(len(comparison.rows) + len(absent)),
        failures=str(len(failures) + len(absent) * strict),
        errors="0",
        skipped=str(len(comparison.of("not compared")) + len(absent) * (not strict)),
    )
    for run, why in absent:
        case = ET.SubElement(suite, "testcase", classname=f"{name}.{run}", name="compared")
        tag, message = ("failure" if strict else "skipped"), f"not compared, since {why}"
        ET.SubElement(case, tag, {"message": message} | ({"type": "absent"} if strict else {}))
    for row in comparison.rows:
        case = ET.SubElement(suite, "testcase", classname=f"{name}.{row.run}", name=f"{row.kind}: {row.measure}")
        text = f"{number(row.before)} → {number(row.after)} ({change(row)}); {row.note}"
        if row.verdict in FAILING:
            ET.SubElement(case, "failure", message=text, type=row.kind)
        elif row.verdict == "not compared":
            ET.SubElement(case, "skipped", message=row.note)
        elif row.verdict == "improvement":
            ET.SubElement(case, "system-out").text = f"improvement: {text}"
    ET.indent(suite, " ")
    xml = NOT_XML.sub("\N{REPLACEMENT CHARACTER}", ET.tostring(suite, encoding="unicode"))
    return f'<?xml version="1.0" encoding="utf-8"?>\n{xml}\n'
