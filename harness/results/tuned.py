"""What a trial of tuning gave, and what a tuned sweep says of each of its runs. Imports neither torch nor Hydra."""

from __future__ import annotations

import math

from harness.results.sections import Better, Section

VAL_LOSS = "val_loss"
"""What chooses where `tune.by` names no other score."""
NO_OTHER_RUN = ("results=", "force=", "tracker", "hydra", "inference.", "budget=", "train.checkpoint_every=")
"""Beginnings of overrides that make no other run."""


class Answers(Section):
    """The score of what a trial answers to the validation examples."""

    score: float | None
    """None where it is not defined of these answers."""
    examples: list[float]
    """What each example has of it, in an order that all trials of the data share: see `example_parts`. Empty where it
    is no score of single examples. To six digits."""


class Rung(Section):
    """A trial after so many steps."""

    step: int
    val_loss: float
    losses: list[float]
    """Of each validation example, in an order that all trials of a base model share: summed nats of its labels. To six
    digits."""
    answers: Answers | None = None
    """Where another score chooses."""


class Trial(Section):
    """What a trial of tuning gave."""

    steps: int
    """Of the training that it is a trial of, whose schedule it follows."""
    rungs: list[Rung]
    """Ascending."""
    by: str = VAL_LOSS
    """The score that chooses."""
    better: Better = "lower"
    """Which values of it are better."""

    def cost(self, rung: Rung) -> tuple[float, list[float]]:
        """What chooses at a rung, as something to be made small, and each validation example's part of that: none where
        it has none. Infinite where a score is not defined."""
        if self.by == VAL_LOSS or rung.answers is None:
            return rung.val_loss, rung.losses
        sign, score = -1 if self.better == "higher" else 1, rung.answers.score
        return math.inf if score is None else sign * score, [sign * each for each in rung.answers.examples]


class Tuned(Section):
    """How a run's setting was chosen."""

    row: str
    """The overrides that the row's runs share, the tuned setting and the seed aside."""
    setting: str
    """The tuned setting, such as `method.lr`."""
    own: float
    """The row's own value, around which its grid lies."""
    value: float | None
    """The chosen value; None where every trial failed, so that the row keeps its own."""
    others: list[str]
    """Overrides of other settings that were chosen with it."""
    edge: bool
    """The best lies at the edge of the grid, however far that was extended."""
    default: bool
    """This run has the row's own value, and is there to show what tuning changed."""
    at_own: bool
    """What was chosen is what the row has of its own."""
    sampler: str
    by: str = VAL_LOSS
    """The score that chose."""
    trials: list[str]
    """Ids of the row's trials."""
    searched: str
    """When the last of them began: UTC, ISO 8601."""

    @property
    def words(self) -> tuple[str, ...]:
        """By which rows are told apart: the overrides in any order, without those that make no other run, and without
        the tuned setting, of which a value that was given is the middle of the grid."""
        aside = (*NO_OTHER_RUN, f"{self.setting}=")
        return tuple(sorted(word for word in self.row.split(" ") if not word.startswith(aside)))

    @property
    def choice(self) -> tuple[int, str, float, list[str]]:
        """By which choices of one row are told apart and ordered: more trials, then later ones, go before others."""
        return len(self.trials), self.searched, self.value or 0.0, self.others

    @property
    def rate_searched(self) -> bool:
        """The learning rate of this run is what a search found."""
        names = (self.setting, *(word.partition("=")[0] for word in self.others))
        return self.value is not None and "method.lr" in names and not self.default
