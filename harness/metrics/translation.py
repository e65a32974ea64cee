"""chrF (Popović 2015, https://aclanthology.org/W15-3049) and TER (Snover et al. 2006), by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from harness.metrics import Score
from harness.metrics._sacrebleu import ref_counts, streams


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`chrf`: F2 of 1- to 6-grams of characters, 0 to 100; `ter`: edits per reference word, in percent, 0 is best.

    Corpus scores with sacrebleu's defaults: chrF with case, TER without; both as sacrebleu prints them.
    """
    refs, library = ref_counts(references), f"sacrebleu:{version('sacrebleu')}"
    return {
        "chrf": _score(CHRF(), predictions, references, f"chrf|chars:6|words:0|case:mixed|refs:{refs}|{library}"),
        "ter": _score(TER(), predictions, references, f"ter|tok:tercom|case:lc|punct:yes|refs:{refs}|{library}"),
    }


def _score(metric: Metric, predictions: Sequence[str], references: Sequence[Sequence[str]], signature: str) -> Score:
    """One of sacrebleu's metrics, from the statistics that it sums itself."""
    # What its own significance tests use; `corpus_score` gives the same value without the statistics.
    found = metric._extract_corpus_statistics(list(predictions), streams(references))  # type: ignore[arg-type]
    rows = tuple(tuple(map(float, row)) for row in found)

    def of_sums(sums: Sequence[float]) -> float:
        return float(metric._compute_score_from_stats(list(sums)).score)

    total = of_sums([sum(column) for column in zip(*rows, strict=True)])
    return Score(total, signature, tuple(map(of_sums, rows)), rows, of_sums)
