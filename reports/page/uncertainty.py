"""How sure a score of one run is, by the bootstrap over its test examples; draws are shared, so that rows pair up."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.page.collect import lines
from reports.read import Run, UnusablePredictions, bleu_statistics, finite
from reports.statistics import bleu_of_sums, percentile_interval, resampled_bleu, resampled_sums

STEPS = 65535
"""Of the scale on which a resampled score is written in two bytes."""
CLOSE = 1e-3
"""Share by which the mean of the examples' values may differ from a score for it to be taken as that mean."""


@dataclass(frozen=True)
class Uncertain:
    """A score's interval and its resamples."""

    low: float
    high: float
    resamples: NDArray[np.float64]

    def packed(self) -> dict[str, Any]:
        """For the page: the interval, and the resamples as base64 of 16-bit steps from the least to the largest."""
        least, largest = float(self.resamples.min()), float(self.resamples.max())
        step = (largest - least) / STEPS or 1.0
        steps = np.round((self.resamples - least) / step).astype("<u2")
        written = base64.b64encode(steps.tobytes()).decode()
        return {"low": round(self.low, 4), "high": round(self.high, 4), "from": least, "step": step, "draws": written}


def uncertain(run: Run) -> tuple[dict[str, Uncertain], tuple[int, ...]]:
    """By score, how sure it is; and the indices of the test examples, which rows that pair up share.

    Only BLEU (from its summed statistics), the slot error rate and scores that are the mean of their examples' values
    have one. Raises UnusablePredictions.
    """
    assert run.record is not None
    told = lines(run.folder / "predictions.jsonl")
    if not told:
        raise UnusablePredictions("there is no readable predictions.jsonl beside the record")
    if not all(isinstance(line.get("index"), int) for line in told):
        raise UnusablePredictions("predictions.jsonl has a line without 'index'")
    told.sort(key=lambda line: line["index"])
    found = {}
    for name, value in run.record.quality.items():
        score = finite(value)
        if score is not None and (resamples := _resamples(run, name, score, told)) is not None:
            interval = percentile_interval(resamples)
            found[name] = Uncertain(interval.low, interval.high, resamples)
    return found, tuple(line["index"] for line in told)


def _resamples(run: Run, name: str, score: float, told: list[dict[str, Any]]) -> NDArray[np.float64] | None:
    """A score under each resample; None where its examples do not give it."""
    if name == "bleu":
        statistics = bleu_statistics(run)[1]
        made = bleu_of_sums(statistics.sum(axis=0))
        if abs(made - score) > 0.01:
            raise UnusablePredictions(f"predictions.jsonl gives BLEU {made:.2f}, the record says {score:.2f}")
        return resampled_bleu(statistics[np.newaxis])[0]
    if name == "ser":
        told_errors = [line.get("slot_errors") or line.get("ser") for line in told]
        errors = [list(each.values()) if isinstance(each, dict) else each for each in told_errors]
        pairs = [(each[0] + each[1], each[2]) for each in errors if isinstance(each, list) and len(each) == 3]
        return _ratio(pairs, score, len(told), 100.0)
    field = "right" if name == "accuracy" else name
    values = [line[field] for line in told if isinstance(line.get(field), (int, float))]
    return _ratio([(float(value), 1.0) for value in values], score, len(told), 1.0)


def _ratio(pairs: list[Any], score: float, count: int, scale: float) -> NDArray[np.float64] | None:
    """Resamples of a sum over a sum, where every example has its part and the whole gives the score."""
    if len(pairs) != count:
        return None
    table = np.array(pairs, dtype=np.float64)
    above, below = table.sum(axis=0)
    if not below or abs(scale * above / below - score) > CLOSE * max(1.0, abs(score)):
        return None
    sums = resampled_sums(table[np.newaxis])[0]
    return np.asarray(scale * sums[:, 0] / np.maximum(sums[:, 1], 1e-12))
