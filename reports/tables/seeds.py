"""Rows that differ only in the seed: how far scores spread, and how often the models say the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean, stdev

import pandas as pd

from harness.errors import UserError
from harness.metrics.bleu import corpus_bleu
from reports.read.rows import SEED, groups
from reports.read.run import Run
from reports.read.runs import Sweep, UnusablePredictions, finite, predictions
from reports.statistics.scores import better, main_of, title_of
from reports.values.asked import Asked
from reports.values.columns import Kind, written
from reports.values.table import MISSING, Cell, Heading, Table

TITLES_OF = {
    "mean": "mean",
    "std": "standard deviation",
    "same": "same prediction, two seeds",
    "same_in_all": "same prediction, all seeds",
    "pairwise_bleu": "BLEU between seeds",
}


def tables(asked: Asked) -> list[Table]:
    """`--table seeds`. Raises UserError where the sweep has none."""
    return [seeds_table(asked.sweep)]


def seeds_table(sweep: Sweep) -> Table:
    """For each method its score over seeds and the agreement of its predictions. Raises UserError where no rows differ
    only in the seed."""
    several = [row.runs for row in groups(sweep) if len(row.runs) > 1]
    if not several:
        raise UserError(f"{sweep.name}: no rows differ only in the seed; run several, as in seed=0,1,2")
    notes: list[tuple[str, str]] = []
    rows = []
    for runs in several:
        row, problem = _row(runs)
        rows.append(row)
        notes += [("", f"{row['row']}: agreement not known: {problem}.")] if problem else []
    frame = pd.DataFrame(rows)
    headings, cells = [], []
    for column in frame.columns:
        values = frame[column]
        if column in ("row", "seeds", "score"):
            texts = {i: str(value) for i, value in values.items()}
        elif values.isna().all():
            continue
        else:
            kind: Kind = "share" if column.startswith("same") else "score"
            known = values.dropna()
            texts = dict(zip(known.index, written(kind, known)[1], strict=True))
        headings.append(Heading(TITLES_OF.get(column, column), column not in ("row", "seeds", "score")))
        cells.append([Cell(texts.get(i, MISSING)) for i in frame.index])
    about = (
        "Rows that differ only in the seed, which draws the adapter's start, the order of the training examples and "
        "solved examples in a prompt. Same prediction: share of test examples; for two seeds the mean over all pairs. "
        "BLEU between seeds: one's texts scored against another's, the mean over all ordered pairs."
    )
    title = f"{sweep.name}: agreement across seeds"
    return Table(title, (about,), tuple(headings), tuple(zip(*cells, strict=True)), tuple(notes), frame)


def _row(runs: Sequence[Run]) -> tuple[dict[str, object], str | None]:
    """The values of one group, and why its agreement is not known, if it is not."""
    records = [record for run in runs if (record := run.done)]
    scored = {name: better(records, name) for name in records[0].quality if name != "val_loss"}
    name = main_of(
        {n: each for n, each in scored.items() if all(finite(r.quality.get(n)) is not None for r in records)}
    )
    scores = [value for r in records if name and (value := finite(r.quality.get(name))) is not None]
    seeds = sorted(int(record.flat_key[SEED]) for record in records)
    row: dict[str, object] = {
        "row": runs[0].label,
        "seeds": ", ".join(map(str, seeds)),
        "score": title_of(name) if name else MISSING,
        "mean": fmean(scores) if scores else None,
        "std": stdev(scores) if scores else None,
        "same": None,
        "same_in_all": None,
        "pairwise_bleu": None,
    }
    try:
        texts = [predictions(run) for run in runs]
        if len({tuple(each) for each in texts}) > 1:
            raise UnusablePredictions("the seeds were scored on different test examples")
    except UnusablePredictions as problem:
        return row, str(problem)
    answers = [list(each.values()) for each in texts]
    row["same"] = agreement(answers)
    row["same_in_all"] = fmean(len(set(each)) == 1 for each in zip(*answers, strict=True))
    if name == "bleu":
        row["pairwise_bleu"] = pairwise_bleu(answers)
    return row, None


def agreement(answers: Sequence[Sequence[str]]) -> float:
    """Share of examples of which two models say the same, mean over all pairs. `answers`: those of each model."""
    return fmean(fmean(a == b for a, b in zip(one, other, strict=True)) for one, other in combinations(answers, 2))


def pairwise_bleu(answers: Sequence[Sequence[str]]) -> float:
    """BLEU, 0 to 100, of each model's texts against each other model's, mean over ordered pairs (Shen et al. 2019,
    https://arxiv.org/abs/1902.07816, who measure diversity so)."""
    ordered = [(one, other) for i, one in enumerate(answers) for j, other in enumerate(answers) if i != j]
    return fmean(corpus_bleu(one, [[text] for text in other]) for one, other in ordered)
