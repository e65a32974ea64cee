"""A sweep's rows are tuned before they run: rounds of trials through any launcher, and what they choose.

What a round consists of follows from the trials' records alone. So a sweep that was stopped anywhere goes on, and one
that was tuned before trains nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from harness.config.run_settings import RunSettings
from harness.errors import UserError
from harness.evaluation.validation import better_of
from harness.launch.run_once import TRIED
from harness.launch.tuned_row import Row, Trial, TunedRow, own_value, swept, written
from harness.results.folder import RunFolder, finished_record, read_record
from harness.results.tuned import VAL_LOSS, Tuned
from harness.tuning.rounds import Chosen, ask
from harness.tuning.trials import Candidate, Tried

Launch = Callable[[Sequence[Trial]], list[dict[str, Any]]]
"""Runs trials by the sweep's launcher. Returns what became of each."""


class Tuning:
    """Tunes the rows of a sweep."""

    def __init__(self, compose: Callable[[Row], RunSettings], launch: Launch, dry_run: bool) -> None:
        """`compose`: the settings of a point, which raises UserError. `dry_run`: nothing is run; rows whose setting is
        not known yet stay as they are."""
        self.compose, self.launch, self.dry_run = compose, launch, dry_run
        self.tuned: dict[Row, TunedRow] = {}
        self.failed: set[str] = set()
        """Trials that failed in this sweep, and are tried again in the next."""

    def points(self, rows: Mapping[Row, int]) -> dict[Row, tuple[int, Tuned | None]] | None:
        """The points that a sweep runs in place of `rows`, once those that ask for it are tuned, each with its grid and
        how its setting was chosen; None where no row asks for it. Raises UserError, KeyboardInterrupt."""
        places = self._find(list(rows))
        if not self.tuned:
            return None
        self._run()
        points: dict[Row, tuple[int, Tuned | None]] = {}
        for row, grid in rows.items():
            tuned, seed = places[row]
            if tuned is None or tuned.chosen is None:
                points[row] = grid, None
            else:
                points |= {point: (grid, how) for point, how in self._final(tuned, seed) if point not in points}
        return points

    def _final(self, row: TunedRow, seed: int) -> list[tuple[Row, Tuned]]:
        """The points of a row under a seed; one, where what was chosen is what it has of its own in other words."""
        points = row.final(seed)
        if len({self.compose(point).run_id() for point, _ in points}) < len(points):
            (point, how), _ = points
            return [(point, how.model_copy(update={"at_own": True}))]
        return points

    def _find(self, rows: Sequence[Row]) -> dict[Row, tuple[TunedRow | None, int]]:
        """The row that each point belongs to, None where it is not tuned (nobody asks for it, or nothing is trained),
        and its seed. Raises UserError with all problems."""
        problems: list[str] = []
        places: dict[Row, tuple[TunedRow | None, int]] = {}
        notes: list[str] = []
        for row in rows:
            settings = self.compose(row)
            tune = settings.tune
            places[row] = None, settings.seed
            if tune.setting is None or not settings.method.trains:
                if tune.setting:
                    notes.append(f"{settings.label()} trains nothing, so there is nothing to tune")
                continue
            base = _base(row)
            try:
                if base not in self.tuned:
                    tuned = TunedRow(base, settings, own_value(settings), better_of(settings))
                    notes.append(tuned.bound(self.compose))
                    self.tuned[base] = tuned
                places[row] = self.tuned[base], settings.seed
            except UserError as error:
                problems += error.problems
                continue
            if self.tuned[base].settings.tune != tune:
                problems.append(f"tune: {settings.label()} is to be tuned in two ways; ask for one at a time")
            if settings.seed in tune.seeds:
                problems.append(
                    f"tune.seeds={tune.seeds}: seed {settings.seed} is the sweep's too; a setting that was chosen by a "
                    "seed looks better under it, so give others"
                )
        plain = {_base(row) for row, (tuned, _) in places.items() if tuned is None}
        both = [tuned.settings.label() for base, tuned in self.tuned.items() if base in plain]
        problems += [f"tune: {label} is to be tuned and not to be; ask for one at a time" for label in both]
        problems += swept(list(self.tuned.values()))
        if problems:
            raise UserError(*dict.fromkeys(problems))
        for note in dict.fromkeys(filter(None, notes)):
            print(f"tuning: {note}", file=sys.stderr)
        return places

    def _run(self) -> None:
        """Run the rounds until every row has its setting. Raises UserError, KeyboardInterrupt."""
        number = 0
        while wanted := list(chain.from_iterable(self._next_round(row) for row in self.tuned.values())):
            number += 1
            each = {trial.run: trial for trial in wanted}
            rows = sum(row.chosen is None for row in self.tuned.values())
            trials = f"{len(each)} trial{'s' * (len(each) > 1)} of {rows} row{'s' * (rows > 1)}"
            print(f"tuning, round {number}: {trials}", file=sys.stderr)
            if self.dry_run:
                for trial in each.values():
                    print(f"{'to do':6} {trial.run:32} {trial.label}")
                return
            before = {run: written(trial) for run, trial in each.items()}
            outcomes = self.launch(list(each.values()))
            if problems := [line for outcome in outcomes for line in outcome["problems"]]:
                raise UserError(*dict.fromkeys(problems))
            if any(outcome["status"] == "interrupted" for outcome in outcomes):
                raise KeyboardInterrupt
            if all(written(trial) == before[run] for run, trial in each.items()):
                raise UserError(f"tuning: the launcher did none of {len(each)} trials; the same command tries again")
            self._note_failed([trial for run, trial in each.items() if written(trial) not in (None, before[run])])

    def _note_failed(self, trials: Sequence[Trial]) -> None:
        """Note which trials, that this sweep has recorded, failed. Raises UserError for what the user can put right."""
        for trial in trials:
            record = read_record(trial.folder.record)
            if record.status not in TRIED:
                if record.user_error:
                    raise UserError(f"{trial.label}: {record.cause}")
                self.failed.add(trial.run)

    def _next_round(self, row: TunedRow) -> list[Trial]:
        """The trials that a row needs now; none where its setting is chosen."""
        tune, steps = row.settings.tune, row.settings.train.steps
        while True:
            answer = ask(tune, steps, row.outcomes)
            if isinstance(answer, Chosen):
                if row.chosen is None:
                    row.chosen = answer
                    self._conclude(row, answer)
                return []
            missing: list[Trial] = []
            news = False
            for candidate, step in answer:
                outcome = self._outcome(row, candidate, step)
                if isinstance(outcome, Tried):
                    row.outcomes[candidate], news = outcome, True
                else:
                    missing += outcome
            if not news:
                return missing

    def _trial(self, row: TunedRow, candidate: Candidate, seed: int, step: int) -> Trial:
        """A candidate's trial under a seed, to a step."""
        overrides = row.trial(candidate, seed, step)
        if (candidate, seed) not in row.trials:
            settings = self.compose(overrides)
            row.trials[candidate, seed] = settings.run_id()
            row.labels[candidate] = settings.label()
        pairs = (word.partition("=") for word in row.overrides(candidate))
        words = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, _, value in pairs)
        label = f"{row.labels[candidate]}, {words}, to step {step}"
        return Trial(overrides, Path(row.settings.results), row.trials[candidate, seed], label)

    def _outcome(self, row: TunedRow, candidate: Candidate, step: int) -> Tried | list[Trial]:
        """What the trials of a candidate gave, or those that have not come to the step; one whose value is not allowed
        has failed."""
        if candidate.place not in row.allowed:
            return Tried(failed=True)
        seeds, last = row.settings.tune.seeds, row.settings.train.steps
        trials = [self._trial(row, candidate, seed, step) for seed in seeds]
        records = [finished_record(trial.results, trial.run, TRIED) for trial in trials]
        if {"diverged"} & {record.status for record in records if record} or self.failed & {t.run for t in trials}:
            return Tried(failed=True)
        tried = [record.trial if record else None for record in records]
        by_step = [{rung.step: trial.cost(rung) for rung in trial.rungs} if trial else {} for trial in tried]
        for end in (step, last):  # one that came to the end may not have been looked at before
            missing = [seed for seed, have in zip(seeds, by_step, strict=True) if not {end, last} & set(have)]
            shared = set.intersection(*map(set, by_step))
            if missing or {step, last} & shared:
                break
        if missing:
            return [self._trial(row, candidate, seed, end) for seed in missing]
        return Tried(
            {at: _means([have[at][1] for have in by_step]) for at in shared},
            {at: sum(have[at][0] for have in by_step) / len(by_step) for at in shared},
        )

    def _conclude(self, row: TunedRow, chosen: Chosen) -> None:
        """Say what was chosen, and remove the checkpoints of trials that nobody goes on with."""
        for run in () if self.dry_run else set(row.trials.values()) - self.failed:
            RunFolder.of(Path(row.settings.results), run).checkpoint.unlink(missing_ok=True)
        name, by = f"tuned {row.settings.label()}", row.settings.tune.by
        failed = len(self.failed & set(row.trials.values()))
        aside = f"; {failed} not done, which the same command tries again" if failed else ""
        if chosen.candidate is None:
            why = "every trial failed" + (f", or has no {by}" if by != VAL_LOSS else "")
            print(f"{name}: {why}; it keeps {row.settings.tune.setting}={row.own:g}{aside}", file=sys.stderr)
            return
        edge = ", at the edge of its grid" if chosen.edge else ""
        aside = (", told by its examples from no other value" if chosen.alike else "") + aside
        words = " ".join(row.overrides(chosen.candidate))
        score, trials = 0 - chosen.loss if row.better == "higher" else chosen.loss, len(row.trials)
        print(f"{name}: {words}{edge} (own {row.own:g}); {by} {score:.4g}, {trials} trials{aside}", file=sys.stderr)


def _base(row: Row) -> Row:
    """What the points of a tuned row share: their overrides without seed and tuning."""
    return tuple(word for word in row if not word.lstrip("+~").startswith(("seed=", "tune=", "tune.")))


def _means(seeds: Sequence[Sequence[float]]) -> list[float]:
    """Of each validation example its mean loss over seeds: examples are what a test draws from, seeds are few. Empty
    where a seed has none."""
    if not all(seeds):
        return []
    return [sum(each) / len(each) for each in zip(*seeds, strict=True)]
