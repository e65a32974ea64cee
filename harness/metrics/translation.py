"""chrF (Popović 2015, https://aclanthology.org/W15-3049) and TER (Snover et al. 2006), by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from harness.metrics import OfSums, Score
from harness.metrics.tools.sacrebleu_references import ref_counts, streams
from harness.metrics.tools.unicode import NAME, tokens, unspaced
from harness.results.sections import Better


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`chrf`: F2 of 1- to 6-grams of characters, 0 to 100; `ter`: edits per reference word, in percent, 0 is best.

    Corpus scores with sacrebleu's defaults: chrF with case, TER without; both as sacrebleu prints them. Where no spaces
    part the words of some reference (Chinese, Thai, …), TER's are words of any script.
    """
    refs, library = ref_counts(references), f"sacrebleu:{version('sacrebleu')}"
    any_script = unspaced(references)
    signatures = {
        "chrf": f"chrf|chars:6|words:0|case:mixed|refs:{refs}|{library}",
        "ter": f"ter|tok:{NAME if any_script else 'tercom'}|case:lc|punct:yes|refs:{refs}|{library}",
    }
    scores = {}
    directions: tuple[tuple[str, Metric, Better], ...] = (("chrf", CHRF(), "higher"), ("ter", TER(), "lower"))
    for name, metric, better in directions:
        spaced = _spaced if any_script and name == "ter" else str
        groups = [[spaced(text) for text in group] for group in references]
        # What its own significance tests use; `corpus_score` gives the same value without the statistics.
        parts = metric._extract_corpus_statistics(list(map(spaced, predictions)), streams(groups))  # type: ignore[arg-type]
        rows, combine = tuple(tuple(map(float, row)) for row in parts), OF_SUMS[name]
        value, each = float(combine(np.sum(rows, axis=0))), tuple(combine(rows).tolist())
        scores[name] = Score(value, signatures[name], each, rows, combine, better=better)
    return scores


def _spaced(text: str) -> str:
    return " ".join(tokens(text))


def _of_sums(metric: Metric, sums: ArrayLike) -> NDArray[np.float64]:
    """Scores of statistics that one of sacrebleu's metrics sums itself."""
    rows = np.asarray(sums, dtype=np.float64)
    return np.apply_along_axis(lambda row: metric._compute_score_from_stats(row.tolist()).score, -1, rows)


OF_SUMS: dict[str, OfSums] = {"chrf": partial(_of_sums, CHRF()), "ter": partial(_of_sums, TER())}
