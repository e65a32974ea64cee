"""A row of a sweep that is tuned: its trials, and the points that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config.run_settings import RunSettings
from harness.errors import UserError
from harness.launch.run_once import TRIED
from harness.results.folder import RunFolder, finished_record
from harness.results.sections import Better
from harness.results.tuned import VAL_LOSS, Tuned
from harness.tuning.rounds import Chosen, rungs
from harness.tuning.trials import Candidate, Tried, edges, value_at

Row = tuple[str, ...]
"""Overrides of a point."""


@dataclass
class Trial:
    """One trial that a round asks for."""

    row: Row
    results: Path
    run: str
    """Its id, which does not hang on how far it is to go."""
    label: str

    @property
    def folder(self) -> RunFolder:
        """Where it lies."""
        return RunFolder.of(self.results, self.run)


@dataclass
class TunedRow:
    """A row of the sweep that is tuned: its points differ in the seed alone."""

    base: Row
    """Overrides of its points, without seed and tuning."""
    settings: RunSettings
    """Of its first point."""
    own: float
    """The tuned setting's own value."""
    better: Better
    """Which values of the score that chooses are better."""
    allowed: range = range(0)
    """The places whose value the setting may have: see `bound`."""
    outcomes: dict[Candidate, Tried] = field(default_factory=dict)
    trials: dict[tuple[Candidate, int], str] = field(default_factory=dict)
    """By candidate and seed: the trial's id."""
    labels: dict[Candidate, str] = field(default_factory=dict)
    chosen: Chosen | None = None

    @property
    def ends(self) -> list[int]:
        """The steps at which its trials are compared."""
        return rungs(self.settings.tune, self.settings.train.steps)

    def bound(self, compose: Callable[[Row], RunSettings]) -> str:
        """Find which places of the grid have a value that the setting may have: one such as a dropout has an end.
        Returns what is left out, in words; empty where nothing is. Raises UserError where all but the row's own is."""
        ends, left = [], []
        for side, place in zip((-1, 1), edges(self.settings.tune), strict=True):
            problems: tuple[str, ...] = ()
            while place:
                try:
                    compose(self.point(Candidate(place)))
                    break
                except UserError as error:
                    problems, place = tuple(error.problems), place - side
            ends.append(place)
            if problems:
                value = value_at(place, self.own, self.settings.tune.per_decade)
                left.append(f"{'below' if side < 0 else 'above'} {value:g} are left out ({'; '.join(problems)})")
        self.allowed = range(ends[0], ends[1] + 1)
        if left and len(self.allowed) == 1:
            raise UserError(*problems)
        return f"{self.settings.label()}: values {', and '.join(left)}" if left else ""

    def overrides(self, candidate: Candidate) -> list[str]:
        """What makes the candidate of the row."""
        tune = self.settings.tune
        value = value_at(candidate.place, self.own, tune.per_decade)
        return [f"{tune.setting}={value!r}", *candidate.others]

    def point(self, candidate: Candidate, *more: str) -> Row:
        """The overrides of a point of the candidate."""
        new = [*self.overrides(candidate), *more]
        names = {word.partition("=")[0] for word in new}
        return (*(word for word in self.base if word.partition("=")[0] not in names), *new)

    def trial(self, candidate: Candidate, seed: int, step: int) -> Row:
        """The overrides of a candidate's trial under a seed, to a step."""
        ends = ",".join(str(end) for end in self.ends if end <= step)
        by = self.settings.tune.by
        return self.point(
            candidate, f"seed={seed}", f"trial=[{ends}]", "force=false", *([] if by == VAL_LOSS else [f"+tune.by={by}"])
        )

    def final(self, seed: int) -> list[tuple[Row, Tuned]]:
        """The row's points under one of the sweep's seeds: with what was chosen, and with its own value."""
        assert self.chosen is not None
        tune, candidate = self.settings.tune, self.chosen.candidate
        own = Candidate(0)
        value = None if candidate is None else value_at(candidate.place, self.own, tune.per_decade)
        told = {
            "row": " ".join(word for word in self.base if not word.startswith("results=")),
            "setting": tune.setting or "",
            "own": self.own,
            "value": value,
            "others": list(candidate.others) if candidate else [],
            "edge": self.chosen.edge,
            "at_own": candidate in (None, own),
            "sampler": tune.sampler,
            "by": tune.by,
            "trials": sorted(set(self.trials.values())),
            "searched": max((self._began(run) for run in self.trials.values()), default=""),
        }
        points = [(self.point(candidate or own, f"seed={seed}"), Tuned.model_validate(told | {"default": False}))]
        if tune.default and candidate not in (None, own):
            points.append((self.point(own, f"seed={seed}"), Tuned.model_validate(told | {"default": True})))
        return points

    def _began(self, run: str) -> str:
        """When a trial began."""
        record = finished_record(Path(self.settings.results), run, TRIED)
        return record.started if record else ""


def own_value(settings: RunSettings) -> float:
    """The row's own value of the tuned setting. Raises UserError."""
    value: Any = settings
    place = settings.tune.setting or ""
    for name in place.split("."):
        if name not in getattr(type(value), "model_fields", {}):
            raise UserError(
                f"tune.setting={place}: method={settings.method.name} has no such setting; method.lr is one"
            )
        value = getattr(value, name)
    if not isinstance(value, float) or value <= 0:
        what = f"is {value} of method={settings.method.name}"
        raise UserError(f"tune.setting={place}: {what}; needs a number above 0 that may be a fraction")
    return float(value)


def swept(rows: Sequence[TunedRow]) -> list[str]:
    """Settings that are swept and tuned at once."""
    seen: dict[Row, TunedRow] = {}
    problems = []
    for row in rows:
        names = (row.settings.tune.setting, *row.settings.tune.also)
        rest = tuple(word for word in row.base if word.partition("=")[0] not in names)
        if seen.setdefault(rest, row) is not row:
            problems.append(f"{' and '.join(filter(None, names))}: is swept and tuned; leave one of the two out")
    return problems


def written(trial: Trial) -> Any:
    """What tells a trial's record from one of before; None where it has none."""
    try:
        stat = trial.folder.record.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
