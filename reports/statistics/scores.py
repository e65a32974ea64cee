"""Scores: how they are called, which is the main one, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.results.record import Record
from harness.results.sections import Better
from harness.results.tuned import VAL_LOSS, Tuned
from reports.statistics.intervals import SeedSummary, positive_summary, seed_summary

MAIN = ("accuracy", "bleu")
"""Scores that rows are compared by, where there is one; else the first of which more or less is better."""
TITLES = {"bleu": "BLEU", "nist": "NIST", "meteor": "METEOR", "rouge1": "ROUGE-1", "rouge2": "ROUGE-2"}
TITLES |= {"rougeL": "ROUGE-L", "cider": "CIDEr", "ser": "slot error rate", "val_loss": "validation loss"}
TITLES |= {"rouge_l": "ROUGE_L", "rougeLsum": "ROUGE-Lsum", "nist_pymteval": "NIST (pymteval)"}
TITLES |= {"chrf": "chrF", "ter": "TER", "exact_match": "exact match", "token_f1": "token F1"}
TITLES |= {"numeric_match": "numeric match", "boxed_match": "boxed match", "pass_at_1": "pass@1"}
TITLES |= {"mean/accuracy": "accuracy (mean over tasks)"}
TITLES |= {"f1": "F1", "matthews": "Matthews", "ece": "ECE", "brier": "Brier"}
TITLES |= {"accuracy": "accuracy", "macro_f1": "macro F1", "accuracy_normalised": "accuracy (normalised)"}
TITLES |= {"ece_normalised": "ECE (normalised)", "brier_normalised": "Brier (normalised)"}
POSITIVE = ("val_loss", "loss", "perplexity", "word_perplexity", "bits_per_byte")
"""Scores that are never 0 or less: their intervals over seeds are those of logarithms."""
TRIVIAL = {
    "best_constant": (("bleu",), "a constant answer"),
    "most_frequent_class": (("accuracy", "accuracy_normalised"), "a constant answer"),
    "join_slots": (("bleu",), "the joined slots"),
}
"""Answers that need no model: which scores a record has of them, and what a verdict calls them."""
UNSAID_LOWER = ("val_loss", "loss", "ser", "ter", "ece", "brier", "perplexity", "word_perplexity")
UNSAID_NEITHER = ("length_ratio", "copy_rate", "repetition", "distinct_1", "distinct_2")
"""Of records from before a record said which values of its scores are better: that of the scores that there were."""


def better(records: Iterable[Record], score: str) -> Better:
    """Which values of a score are better, as the records say. Where they contradict each other, neither is."""
    return _agreed([(record.better or {}).get(score) for record in records], score)


def better_at(records: Iterable[Record], path: str) -> Better:
    """The same of the field `quality.SCORE` or `lm_eval.TASK.after.METRIC`."""
    if path.startswith("quality."):
        return better(records, path.removeprefix("quality."))
    task, _, metric = path.removeprefix("lm_eval.").partition(".after.")
    known = [task_scores.better for record in records if (task_scores := (record.lm_eval or {}).get(task))]
    return _agreed([(each or {}).get(metric) for each in known], metric.partition(",")[0])


def _agreed(directions: Iterable[Better | None], score: str) -> Better:
    known = {each for each in directions if each is not None}
    return unsaid(score) if not known else known.pop() if len(known) == 1 else "neither"


def unsaid(score: str) -> Better:
    """Which values are better where no record says it; of a mixture's scores, as of the task's own."""
    plain = score.rpartition("/")[2].removesuffix("_normalised")
    return "lower" if plain in UNSAID_LOWER else "neither" if plain in UNSAID_NEITHER else "higher"


def is_positive(score: str) -> bool:
    """Whether a score, of a mixture too, is never 0 or less."""
    return score.rpartition("/")[2] in POSITIVE


def over_seeds(score: str, values: Sequence[float]) -> SeedSummary:
    """The summary of one value of a score a seed."""
    return positive_summary(values) if is_positive(score) else seed_summary(values)


@dataclass(frozen=True)
class Floor:
    """The best answer that needs no model: what a score must beat before it means that anything was learned."""

    name: str
    value: float
    called: str


def floor(records: Sequence[Record], score: str) -> Floor | None:
    """That of a score, of a row's records; None where they have none of it."""
    task, slash, plain = score.rpartition("/")
    known = [
        Floor(name, value, called)
        for name, (scores, called) in TRIVIAL.items()
        for record in records
        if plain in scores and (value := record.baselines.get(f"{task}{slash}{name}")) is not None
    ]
    return max(known, key=lambda each: each.value, default=None)


def title_of(score: str) -> str:
    """A score as a heading has it."""
    return TITLES.get(score, score)


def chosen_by(tuned: Iterable[Tuned]) -> str:
    """What chose settings, in words."""
    names = sorted({each.by for each in tuned})
    return " and ".join(
        "validation loss" if name == VAL_LOSS else f"{title_of(name)} on validation examples" for name in names
    )


def main_score(records: Sequence[Record]) -> str | None:
    """The score that rows are compared by: accuracy, BLEU or the task's first, as far as a record has it."""
    names = dict.fromkeys(name for record in records for name in record.quality if name != "val_loss")
    return main_of({name: better(records, name) for name in names})


def main_of(scores: dict[str, Better]) -> str | None:
    """The one of these that rows are compared by; a score of which neither more nor less is better, only where there
    is no other."""
    ranked = [name for name, which in scores.items() if which != "neither"]
    return next((name for name in (*MAIN, *ranked, *scores) if name in scores), None)
