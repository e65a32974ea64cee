"""Each measure over versions, and where it changed.

A version is compared, by the gate's own tests, with the one at which its segment began; what moved begins a new
segment. So a change point has the gate's error rates, and a slow drift is one as soon as it has gone far enough.
Methods that look for change points in one long series need more versions than most histories have, and leave the
repeats unused.
"""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.errors import UserError, first_line
from reports.gate.baseline import measured, parse
from reports.gate.compare import compare
from reports.gate.entries import Baseline, Entry
from reports.gate.repeats import MEASURE
from reports.gate.rows import Row
from reports.gate.show import columns, number
from reports.read.run import Run
from reports.read.runs import load_sweep

ALL = "all runs"
LINES = {
    "regression": {"color": "#D55E00", "linestyle": "-"},
    "moved": {"color": "#E69F00", "linestyle": ":"},
    "improvement": {"color": "#009E73", "linestyle": "--"},
}
"""How a figure marks what a version brought."""
PANELS = 12
"""Of a figure."""


@dataclass(frozen=True)
class Version:
    """One point of a history."""

    name: str
    """Commit, file, or version of the harness."""
    baseline: Baseline


@dataclass(frozen=True)
class Series:
    """One measure of one run."""

    run: str
    measure: str
    values: tuple[float | None, ...]
    """One a version; None where it was not measured."""
    moved: tuple[str, ...]
    """One a version: regression, moved, improvement, or nothing."""


def of_git(path: Path) -> list[Version]:
    """The versions of a baseline file that its repository has, oldest first, and the file as it is if that differs.
    Raises UserError."""
    if not os.path.isfile(path):
        raise UserError(f"{path}: no baseline there; name a file, a folder of them, or a results folder")
    place = path.resolve()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(place.parent), *arguments]
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, encoding="utf-8", errors="replace"
        )
        if answer.returncode != 0:
            why = (answer.stderr.strip().splitlines() or ["no reason given"])[0]
            raise UserError(f"{path}: its history cannot be read ({why})")
        return answer.stdout

    commits = git("log", "--reverse", "--format=%h", "--", place.name).split()
    texts = [(commit, git("show", f"{commit}:./{place.name}")) for commit in commits]
    try:
        now = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)}); name another file") from None
    if not texts or texts[-1][1] != now:
        texts.append(("now", now))
    return [Version(name, parse(text, f"{path} at {name}")) for name, text in texts]


def of_files(folder: Path) -> list[Version]:
    """The baseline files of a folder, by when they were measured. Raises UserError."""
    try:
        texts = {path: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml") if path.is_file()}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{folder}: a baseline there cannot be read ({error}); name another folder") from None
    read = [Version(path.stem, parse(text, str(path))) for path, text in texts.items()]
    if not read:
        raise UserError(f"{folder}: neither baselines (*.yaml) nor records (runs/) there; name another folder")
    return sorted(read, key=lambda version: version.baseline.measured)


def of_records(results: Path, sweep: str) -> list[Version]:
    """The records of a sweep's runs in a results folder by what they ran with, oldest first. Raises UserError."""
    groups: dict[str, list[Run]] = {}
    for run in load_sweep(results, sweep).runs:
        if run.record is not None:
            environment = run.record.key["environment"]
            groups.setdefault(repr(sorted(environment.items(), key=str)), []).append(run)
    baselines = [measured(runs, sweep) for runs in groups.values()]
    if not baselines:
        raise UserError(f"{results}: no readable records of {sweep}; run it (python -m harness +sweep={sweep})")
    baselines.sort(key=lambda each: each.measured)
    return [Version(f"{each.versions['harness']} {each.measured[:10]}", each) for each in baselines]


def series(versions: Sequence[Version]) -> list[Series]:
    """Each measure of each run over the versions. Where only some versions share a run, it is compared at those."""
    names = {entry.key: name for version in versions for name, entry in version.baseline.runs.items()}
    values: dict[tuple[str, str], list[float | None]] = {}
    for place, version in enumerate(versions):
        for entry in version.baseline.runs.values():
            for measure, value in _values(entry).items():
                each = (names[entry.key], measure)
                values.setdefault(each, [None] * len(versions))[place] = value
    moved: dict[tuple[str, str], list[str]] = {}
    starts: dict[tuple[str, str], int] = {}
    for place in range(1, len(versions)):
        began = {0, *starts.values()}
        for start in sorted(began):
            for row in _rows(versions[start], versions[place]):
                began_as = versions[start].baseline.runs.get(row.run)
                each = (names[began_as.key] if began_as else ALL, row.measure)
                if starts.get(each, 0) == start and row.verdict in ("regression", "moved", "improvement"):
                    moved.setdefault(each, [""] * len(versions))[place] = row.verdict
                    starts[each] = place
    nothing: tuple[float | None, ...] = (None,) * len(versions)
    return [
        Series(
            run,
            measure,
            tuple(values.get((run, measure), nothing)),
            tuple(moved.get((run, measure), [""] * len(versions))),
        )
        for run, measure in dict.fromkeys([*values, *moved])
    ]


def _rows(start: Version, now: Version) -> tuple[Row, ...]:
    """What the gate says of one version beside another; nothing where they share no run."""
    try:
        return compare(start.baseline, now.baseline).rows
    except UserError:
        return ()


def _values(entry: Entry) -> dict[str, float]:
    """What a history shows of a run, by the name that the gate's rows have for it."""
    figures: dict[str, float] = dict(entry.exact)
    figures |= {name: median(values) for name, values in entry.memory.items()}
    if entry.throughput:
        figures["tokens per second"] = median(entry.throughput)
    if (loss := entry.quality.get("val_loss")) is not None:
        figures[MEASURE] = loss
    names = {entry.main, "val_loss"}
    return figures | {name: value for name, value in entry.quality.items() if name in names and value is not None}


def table(versions: Sequence[Version], rows: Sequence[Series]) -> str:
    """A line a measure that moved: its values, `!` behind a regression, `~` where the run is another computation,
    `+` behind an improvement."""
    marks = {"regression": " !", "moved": " ~", "improvement": " +", "": ""}
    lines = [("run", "measure", *(version.name for version in versions))]
    for each in rows:
        if any(each.moved):
            cells = (number(value) + marks[moved] for value, moved in zip(each.values, each.moved, strict=True))
            lines.append((each.run, each.measure, *cells))
    still = sum(not any(each.moved) for each in rows)
    shown = columns(lines) if len(lines) > 1 else []
    return "\n".join([*shown, f"{still} of {len(rows)} measures did not move over {len(versions)} versions."]) + "\n"


def figure(versions: Sequence[Version], rows: Sequence[Series]) -> bytes:
    """An SVG with a panel for each measure that moved: its values over the versions, and where it moved."""
    from matplotlib.figure import Figure

    shown = [each for each in rows if any(each.moved) and any(value is not None for value in each.values)][:PANELS]
    shown = shown or [each for each in rows if any(value is not None for value in each.values)][:1]
    drawn = Figure(figsize=(7, 1.6 * len(shown) + 0.6), layout="constrained")
    places = range(len(versions))
    for axes, each in zip(drawn.subplots(len(shown), squeeze=False)[:, 0], shown, strict=True):
        axes.plot(places, [float("nan") if value is None else value for value in each.values], "o-", color="#0072B2")
        for place, moved in enumerate(each.moved):
            if moved:
                axes.axvline(place - 0.5, **LINES[moved])
        axes.set_title(f"{each.run}: {each.measure}".replace("$", r"\$"), fontsize=9, loc="left")
        axes.set_xticks(places, [version.name for version in versions], fontsize=8)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.tick_params(axis="y", labelsize=8)
    svg = io.BytesIO()
    drawn.savefig(svg, format="svg", metadata={"Date": None})
    return svg.getvalue()
