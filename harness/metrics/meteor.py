"""METEOR 1.5 (Denkowski and Lavie 2014, https://aclanthology.org/W14-3348) by its own Java program."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocoevalcap.meteor import meteor

from harness.metrics import Score, ratio
from harness.metrics.tools.java import JavaFailed, run_java
from harness.metrics.tools.ptb import tokenized
from harness.metrics.tools.unicode import blind

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
"""METEOR 1.5's own for English: recall's weight, fragmentation's exponent and weight, weight of content words."""
STAGES = (1.0, 0.6, 0.8, 0.6)
"""Weights of matches that are exact, of stems, of synonyms, of paraphrases."""
WIDTH = 4 + 4 * len(STAGES) + 3
"""Statistics of an example, as METEOR prints them: words of output and reference; function words of both; for each
stage the content words matched in output and reference, and the function words; chunks; matched words of both."""


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    """`meteor`: of the statistics of each example's best reference, summed over examples, 0 to 100.

    Null, with the reason, where Java is missing, crashes or does not end, and where references are in another script
    than Latin, of which METEOR's English has no words, stems or synonyms.
    """
    signature = f"meteor|1.5|lang:en|norm:yes|tok:ptb|pycocoevalcap:{version('pycocoevalcap')}"
    if blind(references):
        return {
            "meteor": Score(None, signature, reason="references in another script than Latin, for METEOR's English")
        }
    texts = tokenized(predictions, references)
    if texts.reason is not None:
        return {"meteor": Score(None, signature, reason=texts.reason)}
    try:
        rows = statistics(texts.predictions, texts.references)
    except JavaFailed as error:
        return {"meteor": Score(None, signature, reason=str(error))}
    value, each = float(of_sums(np.sum(rows, axis=0))), tuple(of_sums(rows).tolist())
    return {"meteor": Score(value, signature, each, rows, of_sums, official=0.01)}


def statistics(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[tuple[float, ...], ...]:
    """For each example METEOR's statistics against its best reference. Raises JavaFailed."""
    jar = Path(meteor.__file__).with_name(meteor.METEOR_JAR)
    lines = [
        " ||| ".join(["SCORE", *(_field(text) for text in (*group, prediction))])
        for prediction, group in zip(predictions, references, strict=True)
    ]
    # Options and order as in pycocoevalcap. Its second question, for the score of these statistics, is `of_sums`.
    options = ["-Xmx2G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]
    printed = run_java(options, "\n".join(lines) + "\n").splitlines()
    rows = [[float(value) for value in line.split()] for line in printed]
    if len(rows) != len(lines) or any(len(row) != WIDTH for row in rows):
        raise JavaFailed(f"java gave {len(rows)} lines of statistics for {len(lines)} examples")
    for row in rows:
        words, (chunks, *matched) = row[:2], row[-3:]
        if chunks == 1 and matched == words:
            row[-3] = 0.0  # as METEOR sums them, an output that is all its reference has no fragments
    return tuple(map(tuple, rows))


def _field(text: str) -> str:
    """A text without METEOR's own separator."""
    return " ".join(text.replace("|||", " ").split())


def of_sums(sums: ArrayLike) -> NDArray[np.float64]:
    """METEOR, 0 to 100, of summed statistics: weighted mean of precision and recall, less the penalty for chunks."""
    rows = np.asarray(sums, dtype=np.float64)
    stages, chunks, matched = rows[..., 4:-3], rows[..., -3], rows[..., -2:].sum(axis=-1) / 2
    shares = []
    for side in (0, 1):
        content, function = stages[..., side::4], stages[..., 2 + side :: 4]
        hits = (np.array(STAGES) * (DELTA * content + (1 - DELTA) * function)).sum(axis=-1)
        words, functions = rows[..., side], rows[..., 2 + side]
        shares.append(ratio(hits, DELTA * (words - functions) + (1 - DELTA) * functions))
    precision, recall = shares
    mean = ratio(precision * recall, (1 - ALPHA) * recall + ALPHA * precision)
    return 100 * mean * (1 - GAMMA * ratio(chunks, matched) ** BETA)


OF_SUMS = {"meteor": of_sums}
