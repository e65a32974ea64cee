"""Answers that no model is needed for: what a score must beat before it means that anything was learned."""

import random
import re
from collections import Counter
from collections.abc import Sequence

from sacrebleu.metrics.bleu import BLEU

from harness.data import Example, Source
from harness.metrics.bleu import LIBRARY, compute, reader
from harness.metrics.classes import accuracy

SCORED_ON = 100
"""Training examples on which each candidate constant is scored; more would cost time and hardly change the choice."""


def join_slots(source: str) -> str:
    """The values of a meaning representation, in order: `name[A], food[Thai]` becomes `A, Thai`.

    Raises ValueError when `source` has no slots.
    """
    values = re.findall(r"\[([^\[\]]*)\]", source)
    if not values:
        raise ValueError(f"no slots like name[...] in {source!r}: join_slots needs meaning representations")
    return ", ".join(values)


def best_constant(train: Sequence[Example], candidates: int, seed: int) -> str:
    """The one text that answers training examples best when it is given for all of them, by corpus BLEU.

    `candidates` training references are tried, each on the same sample of training examples; the test set has no part.
    Raises ValueError when there is nothing to choose from.
    """
    texts = sorted({reference for example in train for reference in example.references})
    if not texts or candidates < 1:
        raise ValueError("best_constant needs at least one training reference and one candidate")
    rng = random.Random(seed)
    tried = rng.sample(texts, min(candidates, len(texts)))
    sample = [example.references for example in rng.sample(list(train), min(SCORED_ON, len(train)))]
    most = max(len(references) for references in sample)
    name, spaced = reader([example.references for example in train])
    # sacrebleu wants one column per reference position, None where an example has fewer (its types forget that).
    columns = [[spaced(r[i]) if i < len(r) else None for r in sample] for i in range(most)]
    bleu = BLEU(lowercase=True, tokenize=LIBRARY[name], references=columns)  # type: ignore[arg-type]  # counted only once
    scores = [bleu.corpus_score([spaced(text)] * len(sample), None).score for text in tried]
    return tried[scores.index(max(scores))]


def trivial(source: Source, train: Sequence[Example], test: Sequence[Example]) -> dict[str, float]:
    """The accuracy of the most frequent class, or BLEU of two answers that need no model; by task of a mixture.

    Nothing for texts without a prompt, and for answers that BLEU does not measure.
    """
    scores: dict[str, float] = {}
    for task in dict.fromkeys(example.task for example in test):
        examples, known = [e for e in test if e.task == task], [e for e in train if e.task == task]
        one = _of_task(source.of(examples[0]), known, examples)
        scores |= {f"{task}/{name}" if task else name: value for name, value in one.items()}
    return scores


def _of_task(source: Source, train: Sequence[Example], test: Sequence[Example]) -> dict[str, float]:
    if source.classes is not None:
        common = Counter(example.references[0] for example in train).most_common(1)[0][0]
        return {"most_frequent_class": accuracy([common] * len(test), [e.references[0] for e in test])}
    if source.plain or "bleu" not in source.metrics:
        return {}
    references = [example.references for example in test]
    texts = {"best_constant": [best_constant(train, candidates=200, seed=0)] * len(test)}
    if source.mr_form:
        texts["join_slots"] = [join_slots(example.source) for example in test]
    scores = {name: compute(lines, references)["bleu"].value for name, lines in texts.items()}
    return {name: value for name, value in scores.items() if value is not None}
