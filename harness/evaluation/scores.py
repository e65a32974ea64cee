"""Scores of predictions against references, by task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from harness import metrics
from harness.data import Example, Source
from harness.metrics import Score, calibration
from harness.metrics.classes import accuracy
from harness.metrics.tools.java import FAMILIES as JAVA
from harness.results.sections import Better
from harness.texts import first_with_text


@dataclass(frozen=True)
class Prediction:
    """What a model says of one test example."""

    text: str
    """Its answer: a text, or the likeliest class; empty for a text without a prompt."""
    probabilities: tuple[float, ...] | None = None
    """Of each class of the task, in its order; None where the task has none."""
    normalised: tuple[float, ...] | None = None
    """The same from log-likelihoods per token of the class's text; None under a classification head."""
    log_likelihood: float | None = None
    """Summed over the tokens of a text without a prompt, in nats."""
    tokens: int | None = None
    """How many they are."""
    cut: bool = False
    """They are not all of its text."""
    ended: bool | None = None
    """A written answer ended by itself, not by the number of tokens that it may have; None for what is not written."""


@dataclass(frozen=True)
class Scores:
    """Scores over the test examples, and a line for each of them."""

    quality: dict[str, float | None]
    signatures: dict[str, str]
    lines: tuple[dict[str, Any], ...]
    """For each example: index, prediction, and each score's part."""
    reasons: dict[str, str] = field(default_factory=dict)
    """By score: why it is None."""
    better: dict[str, Better] = field(default_factory=dict)
    """By score: which values are better."""


def of_each_task(data: Source, examples: Sequence[Example], indices: Iterable[int]) -> list[tuple[Source, list[int]]]:
    """Examples by the task that they belong to."""
    groups: dict[str, list[int]] = {}
    for i in indices:
        groups.setdefault(examples[i].task, []).append(i)
    return [(data.of(examples[group[0]]), group) for group in groups.values()]


def score_examples(
    data: Source,
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
    answers: str = "",
    only: str = "",
    *,
    run_code: bool = False,
) -> Scores:
    """Scores of a prediction an example; of a mixture, those of each task under its name, as in `gsm8k/accuracy`.
    `answers`: how they were written; `only`, `run_code`: see `score`."""
    parts = []
    for source, chosen in of_each_task(data, examples, range(len(examples))):
        own, alike = [examples[i] for i in chosen], [predictions[i] for i in chosen]
        if source.plain:
            scores = score_texts(alike, own)
        elif source.classes is not None:
            scores = score_classes(own, alike, source, only)
        else:
            texts = [prediction.text for prediction in alike]
            scores = score(own, texts, source.metrics, only, run_code=run_code)
        parts.append((own[0].task, chosen, _as_written(scores, alike, answers)))
    if len(parts) == 1 and not parts[0][0]:
        return parts[0][2]
    return together(parts, data.means())


def _as_written(scores: Scores, predictions: Sequence[Prediction], answers: str) -> Scores:
    """The scores, with which answers ended by themselves, and how they were written; as they are where none was."""
    if all(prediction.ended is None for prediction in predictions):
        return scores
    lines = (line | {"ended": p.ended} for line, p in zip(scores.lines, predictions, strict=True))
    return replace(scores, lines=tuple(lines), signatures=scores.signatures | {"answers": answers})


def score_classes(
    examples: Sequence[Example], predictions: Sequence[Prediction], source: Source, only: str = ""
) -> Scores:
    """The task's scores of predicted classes; the lines hold the probabilities of all classes and which is right."""
    classes = source.classes or ()
    texts, expected = [own.text for own in predictions], [example.references[0] for example in examples]
    scores = score(examples, texts, source.metrics, only)
    quality, signatures, better = dict(scores.quality), dict(scores.signatures), dict(scores.better)
    lines = []
    for line, own, right in zip(scores.lines, predictions, expected, strict=True):
        more = {"right": own.text == right, "label": classes.index(right), "probabilities": own.probabilities}
        lines.append(line | more | ({"probabilities_normalised": own.normalised} if own.normalised else {}))
    stated = {
        "": [own.probabilities for own in predictions],
        "_normalised": [own.normalised for own in predictions],
    }
    for suffix, rows in stated.items():
        named = [dict(zip(classes, row, strict=True)) for row in rows if row is not None]
        for name, one in calibration.scores(named, expected).items() if named else ():
            quality[name + suffix], signatures[name + suffix] = one.value, one.signature
            better[name + suffix] = one.better
    if named:
        quality["accuracy_normalised"] = accuracy([max(row, key=lambda name: row[name]) for row in named], expected)
        signatures["accuracy_normalised"] = "accuracy|likeliest per token of the class's text"
        better["accuracy_normalised"] = "higher"
    return Scores(quality, signatures, tuple(lines), scores.reasons, better)


def score_texts(predictions: Sequence[Prediction], examples: Sequence[Example]) -> Scores:
    """How well texts without a prompt are foretold: by token of the model, and by word and byte of the text."""
    sums = [prediction.log_likelihood or 0.0 for prediction in predictions]
    counts = [prediction.tokens or 0 for prediction in predictions]
    words = [len(example.references[0].split()) for example in examples]
    size = sum(len(example.references[0].encode()) for example in examples)
    cut = sum(prediction.cut for prediction in predictions)
    loss = -sum(sums) / sum(counts)
    quality: dict[str, float | None] = {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700)),
        "word_perplexity": None if cut else math.exp(min(-sum(sums) / sum(words), 700)),
        "bits_per_byte": None if cut else -sum(sums) / (math.log(2) * size),
    }
    tokens = "tokens of the test blocks that have one in front, BOS included"
    signatures = {
        "loss": f"nats per token|{tokens}",
        "perplexity": f"exp of nats per token|{tokens}",
        "word_perplexity": f"exp of nats per word|{tokens}; words as white space parts them",
        "bits_per_byte": f"bits per byte of UTF-8|{tokens}",
    }
    lines = [
        {"index": i, "prediction": "", "log_likelihood": value, "tokens": count, "words": word}
        for i, (value, count, word) in enumerate(zip(sums, counts, words, strict=True))
    ]
    whole = [name for name, value in quality.items() if value is None]
    reasons = dict.fromkeys(whole, f"{cut} of {len(predictions)} blocks were cut; lower data.block")
    return Scores(quality, signatures, tuple(lines), reasons, dict.fromkeys(quality, "lower"))


def share_ended(lines: Sequence[dict[str, Any]]) -> float | None:
    """Share of the written answers that ended by themselves, 0 to 1; None where none was written."""
    written = [line["ended"] for line in lines if "ended" in line]
    return sum(written) / len(written) if written else None


def cut_answers(source: Source, examples: Sequence[Example]) -> list[str]:
    """A warning for each task some of whose references, given as the answer, would not be left whole."""
    warnings = []
    for task in dict.fromkeys(example.task for example in examples):
        each = [example for example in examples if example.task == task]
        own = source.of(each[0])
        texts = [] if own.plain or own.classes is not None else [r.strip() for e in each for r in e.references]
        stopped = sum(any(stop in text for stop in own.stop) for text in texts)
        several = 0 if own.multiline else sum(first_with_text(text) != text for text in texts)
        name = f"data.tasks.{task}" if task else "data"
        if several:
            warnings.append(
                f"{name}.multiline=false: {several} of {len(texts)} references have several lines, and an answer is "
                f"the first one, so that a perfect one is cut; {name}.multiline=true keeps all"
            )
        if stopped:
            warnings.append(
                f"{name}.stop: {stopped} of {len(texts)} references hold one of {list(own.stop)}, where an answer "
                "ends, so that a perfect one is cut; name other texts"
            )
    return warnings


def score(
    examples: Sequence[Example],
    predictions: Sequence[str],
    families: Sequence[str],
    only: str = "",
    *,
    run_code: bool = False,
) -> Scores:
    """The scores of these families of `harness.metrics` against the examples' references. `only`: families after one
    that has this score (of a mixture's task `gsm8k/accuracy`) are left out, those that need Java come last. `run_code`:
    by running the predictions, too.

    A line holds, by name of the score, the example's statistics where the score is made of sums, else its own score.
    """
    references, sources = [example.references for example in examples], [example.source for example in examples]
    results: dict[str, Score] = {}
    for some in [[name] for name in sorted(families, key=JAVA.__contains__)] if only else [families]:
        results |= metrics.compute(some, predictions, references, sources, run_code)
        if only.rpartition("/")[2] in results:
            break
    lines: list[dict[str, Any]] = [{"index": i, "prediction": text} for i, text in enumerate(predictions)]
    for name, one in results.items():
        parts = [list(row) for row in one.statistics] if one.statistics else one.examples
        for line, part in zip(lines, parts or (), strict=bool(parts)):
            line[name] = part
    reasons = {name: one.reason for name, one in results.items() if one.reason}
    values = {name: one.value for name, one in results.items()}
    for name, value in values.items():
        if value is not None and not math.isfinite(value):
            values[name], reasons[name] = None, f"its scorer gave {value}"
    return Scores(
        values,
        {name: one.signature for name, one in results.items()},
        tuple(lines),
        reasons,
        {name: one.better for name, one in results.items()},
    )


def together(parts: Sequence[tuple[str, list[int], Scores]], mean: Sequence[str] = ()) -> Scores:
    """The scores of a mixture's tasks: name, indices of its test examples, its scores. `mean`: scores whose mean over
    the tasks, each weighing the same, comes before them, as in `mean/accuracy`."""
    quality: dict[str, float | None] = {}
    signatures: dict[str, str] = {}
    reasons: dict[str, str] = {}
    better: dict[str, Better] = {}
    lines = []
    for name in mean:
        values = {task: scores.quality.get(name) for task, _, scores in parts}
        known = [value for value in values.values() if value is not None]
        quality[f"mean/{name}"] = fmean(known) if len(known) == len(values) else None
        if without := [task for task, value in values.items() if value is None]:
            reasons[f"mean/{name}"] = f"{without[0]} has no {name}"
        signatures[f"mean/{name}"] = f"mean over {len(parts)} tasks"
        better[f"mean/{name}"] = parts[0][2].better.get(name, "neither")
    for task, indices, scores in parts:
        reasons |= {f"{task}/{name}": why for name, why in scores.reasons.items()}
        better |= {f"{task}/{name}": which for name, which in scores.better.items()}
        quality |= {f"{task}/{name}": value for name, value in scores.quality.items()}
        signatures |= {f"{task}/{name}": text for name, text in scores.signatures.items()}
        lines += [line | {"index": i, "task": task} for i, line in zip(indices, scores.lines, strict=True)]
    return Scores(quality, signatures, tuple(lines), reasons, better)
