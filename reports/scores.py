"""Scores: how they are called, which is the main one, and which way is better."""

from __future__ import annotations

from collections.abc import Sequence

from harness.results import Record

MAIN = ("accuracy", "bleu")
"""Scores that rows are compared by, where a record has one; else the first of the task's."""
TITLES = {"bleu": "BLEU", "nist": "NIST", "meteor": "METEOR", "rouge1": "ROUGE-1", "rouge2": "ROUGE-2"}
TITLES |= {"rougeL": "ROUGE-L", "cider": "CIDEr", "ser": "slot error rate", "val_loss": "validation loss"}
TITLES |= {"rouge_l": "ROUGE_L", "rougeLsum": "ROUGE-Lsum", "nist_pymteval": "NIST (pymteval)"}
TITLES |= {"chrf": "chrF", "ter": "TER", "exact_match": "exact match", "token_f1": "token F1"}
TITLES |= {"numeric_match": "numeric match", "f1": "F1", "matthews": "Matthews", "ece": "ECE", "brier": "Brier"}
TITLES |= {"accuracy": "accuracy", "macro_f1": "macro F1", "accuracy_normalised": "accuracy (normalised)"}
TITLES |= {"ece_normalised": "ECE (normalised)", "brier_normalised": "Brier (normalised)"}
LOWER = ("val_loss", "loss", "ser", "ter", "ece", "brier", "perplexity", "word_perplexity")
"""Scores of which less is better."""


def lower_is_better(score: str) -> bool:
    """Whether less of a score is better; of a mixture's, as of the task's own."""
    return score.rpartition("/")[2].removesuffix("_normalised") in LOWER


def title_of(score: str) -> str:
    """A score as a heading has it."""
    return TITLES.get(score, score)


def main_score(records: Sequence[Record]) -> str | None:
    """The score that rows are compared by: accuracy, BLEU or the task's first, as far as a record has it."""
    names = dict.fromkeys(name for record in records for name in record.quality if name != "val_loss")
    return next((name for name in (*MAIN, *names) if name in names), None)
