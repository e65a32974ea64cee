"""Trials that Optuna's tree-structured Parzen estimator asks for (Bergstra et al. 2011), for several settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.settings import Tune
from harness.tuning.trials import Candidate, Tried, edges

TOGETHER = 4
"""Trials that are asked for at once, so that a launcher has several to run."""


def next_candidates(tune: Tune, steps: int, outcomes: Mapping[Candidate, Tried]) -> list[Candidate]:
    """The candidates to be tried next; none where `tune.trials` were.

    The study is made anew of the outcomes each time: the same seed and the same losses ask for the same trials, so that
    the trials' records are all the storage that it needs."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lowest, highest = edges(tune)
    space: dict[str, Any] = {"place": optuna.distributions.IntDistribution(lowest, highest)}
    for name, values in tune.also.items():
        space[name] = optuna.distributions.CategoricalDistribution(list(range(len(values))))
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.enqueue_trial({"place": 0})
    left = tune.trials
    while left:
        asked = [study.ask(space) for _ in range(min(TOGETHER, left))]
        candidates = [_candidate(tune, trial.params) for trial in asked]
        missing = [each for each in candidates if math.isnan(outcomes.get(each, Tried()).loss(steps))]
        if missing:
            return list(dict.fromkeys(missing))
        for trial, candidate in zip(asked, candidates, strict=True):
            study.tell(trial, outcomes[candidate].loss(steps))
        left -= len(asked)
    return []


def _candidate(tune: Tune, chosen: Mapping[str, Any]) -> Candidate:
    return Candidate(chosen["place"], tuple(f"{name}={values[chosen[name]]}" for name, values in tune.also.items()))
