"""Generation and scores: what a model answers on the test examples, and how good that is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness import metrics
from harness.data import Example, Source
from harness.data.batching import Batch, Encoded, collate, collate_prompts
from harness.data.chat import frame
from harness.decoding import end_tokens
from harness.errors import finite
from harness.forward import LabelForward, finite_logits
from harness.metrics import calibration
from harness.metrics.classes import accuracy
from harness.sections import Better
from harness.texts import first_with_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from harness.config import Eval

Answer = Callable[[Any, torch.Tensor, torch.Tensor, Any], torch.Tensor]
"""New tokens [batch, new] of a model for prompts [batch, length], their mask and a generation config."""


@dataclass(frozen=True)
class Scores:
    """Scores over the test examples, and a line for each of them."""

    quality: dict[str, float | None]
    signatures: dict[str, str]
    lines: tuple[dict[str, Any], ...]
    """For each example: index, prediction, and each score's part. Never inputs or references."""
    reasons: dict[str, str] = field(default_factory=dict)
    """By score: why it is None."""
    better: dict[str, Better] = field(default_factory=dict)
    """By score: which values are better."""


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


@torch.no_grad()
def generate(
    answer: Answer,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    settings: Eval,
    progress: Callable[[int], None] = lambda done: None,
    source: Source | None = None,
) -> list[Prediction]:
    """For each prompt the new text: up to an end token of the model, cut and stripped as the task `source` says; None:
    its first line alone. The model is one that `decoding.settle` has seen."""
    from transformers import GenerationConfig

    # Beam options are refused by transformers where there are no beams.
    beams = {"length_penalty": settings.length_penalty} if settings.beams > 1 else {}
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        max_new_tokens=settings.max_new_tokens,
        num_beams=settings.beams,
        no_repeat_ngram_size=settings.no_repeat_ngram or None,
        **beams,
    )
    ends = torch.tensor(end_tokens(model))
    close = frame(tokenizer).closing if source is not None and source.chat else ""
    model.eval()
    device = model.get_input_embeddings().weight.device
    # Prompts of like length together, so that little is padding.
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    made = [Prediction("")] * len(prompts)
    for start in range(0, len(order), settings.batch_size):
        chosen = order[start : start + settings.batch_size]
        ids, mask = collate_prompts([prompts[i] for i in chosen], int(tokenizer.pad_token_id or 0))
        with finite_logits("while generating", model):
            new = answer(model, ids.to(device), mask.to(device), config)
        # A decoder's first token is the one it starts from, which may be an end token.
        ended = torch.isin(new[:, 1:].cpu() if model.config.is_encoder_decoder else new.cpu(), ends).any(1).tolist()
        texts = tokenizer.batch_decode(new, skip_special_tokens=True)
        for i, text, by_itself in zip(chosen, texts, ended, strict=True):
            if close and close in text:
                text, by_itself = text.partition(close)[0], True
            made[i] = Prediction(first_line(text) if source is None else answer_of(text, source), ended=by_itself)
        progress(start + len(chosen))
    return made


@torch.no_grad()
def classify(forward: LabelForward, batches: Sequence[Batch], classes: Sequence[str]) -> list[Prediction]:
    """For each text the most likely class, by a classification head."""
    forward.model.eval()
    rows = [row for batch in batches for row in forward.logits(batch).float().softmax(-1).tolist()]
    for row in rows:
        finite("a class's probability", sum(row))
    return [Prediction(classes[row.index(max(row))], tuple(row)) for row in rows]


@torch.no_grad()
def log_likelihoods(
    forward: LabelForward,
    examples: Sequence[Encoded],
    batch_size: int,
    pad: int,
    device: Any,
    progress: Callable[[int], None] = lambda done: None,
) -> list[tuple[float, int]]:
    """For each example the summed log-likelihood of its scored tokens in nats, and how many they are.

    Examples that differ in their last token alone, as classes of one token do, are read once.
    """
    forward.model.eval()
    same: dict[tuple[tuple[int, ...], tuple[int, ...], int], list[int]] = {}
    for i, example in enumerate(examples):
        read_ids = example.ids if example.answer else example.ids[:-1]
        same.setdefault((read_ids, example.answer[:-1], example.scored_from), []).append(i)
    groups = sorted(same.values(), key=lambda group: (len(examples[group[0]]), group[0]))
    found = [(0.0, 0)] * len(examples)
    for start in range(0, len(groups), batch_size):
        chosen = groups[start : start + batch_size]
        batch = collate([examples[group[0]] for group in chosen], pad).to(device)
        assert batch.predict is not None
        read = forward.logits(batch).float().log_softmax(-1).split(batch.predict.sum(1).tolist())  # type: ignore[no-untyped-call]
        for group, rows in zip(chosen, read, strict=True):
            for i in group:
                example = examples[i]
                scored = example.answer[1:] if example.answer else example.ids[example.scored_from :]
                each = rows.gather(1, torch.tensor(scored, device=rows.device)[:, None])
                found[i] = (finite("a log-likelihood", each.double().sum().item()), len(scored))
        progress(start + len(chosen))
    return found


def by_likelihood(found: Sequence[tuple[float, int]], classes: Sequence[str]) -> Prediction:
    """The prediction that the log-likelihoods and token counts of all classes make: the likeliest one."""
    sums = torch.tensor([value for value, _ in found], dtype=torch.float64)
    counts = torch.tensor([count for _, count in found])
    plain, normalised = sums.softmax(0).tolist(), (sums / counts).softmax(0).tolist()
    return Prediction(classes[int(sums.argmax())], tuple(plain), tuple(normalised))


def score_classes(examples: Sequence[Example], predictions: Sequence[Prediction], source: Source) -> Scores:
    """The task's scores of predicted classes; the lines hold the probabilities of all classes and which is right."""
    classes = source.classes or ()
    texts, expected = [made.text for made in predictions], [example.references[0] for example in examples]
    scores = score(examples, texts, source.metrics)
    quality, signatures, better = dict(scores.quality), dict(scores.signatures), dict(scores.better)
    lines = []
    for line, made, right in zip(scores.lines, predictions, expected, strict=True):
        more = {"right": made.text == right, "label": classes.index(right), "probabilities": made.probabilities}
        lines.append(line | more | ({"probabilities_normalised": made.normalised} if made.normalised else {}))
    stated = {
        "": [made.probabilities for made in predictions],
        "_normalised": [made.normalised for made in predictions],
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
    """Perplexity of texts without a prompt, by token of the model and by word of the text."""
    sums = [prediction.log_likelihood or 0.0 for prediction in predictions]
    counts = [prediction.tokens or 0 for prediction in predictions]
    words = [len(example.references[0].split()) for example in examples]
    cut = sum(prediction.cut for prediction in predictions)
    loss = -sum(sums) / sum(counts)
    quality: dict[str, float | None] = {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700)),
        "word_perplexity": None if cut else math.exp(min(-sum(sums) / sum(words), 700)),
    }
    tokens = "tokens of the test blocks that have one in front, BOS included"
    signatures = {
        "loss": f"nats per token|{tokens}",
        "perplexity": f"exp of nats per token|{tokens}",
        "word_perplexity": f"exp of nats per word|{tokens}; words as white space parts them",
    }
    lines = [
        {"index": i, "prediction": "", "log_likelihood": value, "tokens": count, "words": word}
        for i, (value, count, word) in enumerate(zip(sums, counts, words, strict=True))
    ]
    reasons = {"word_perplexity": f"{cut} of {len(predictions)} blocks were cut; lower data.block"} if cut else {}
    return Scores(quality, signatures, tuple(lines), reasons, dict.fromkeys(quality, "lower"))


def share_ended(lines: Sequence[dict[str, Any]]) -> float | None:
    """Share of the written answers that ended by themselves, 0 to 1; None where none was written."""
    written = [line["ended"] for line in lines if "ended" in line]
    return sum(written) / len(written) if written else None


def answer_of(text: str, source: Source) -> str:
    """The part of a generated text that is the answer."""
    for stop in source.stop:
        text = text.partition(stop)[0]
    return text.strip() if source.multiline else first_line(text)


def first_line(text: str) -> str:
    """The first line that has text, stripped; a model that goes on with other things is scored on its answer."""
    return first_with_text(text)


def cut_answers(source: Source, examples: Sequence[Example]) -> list[str]:
    """A warning for each task some of whose references, given as the answer, would not be left whole."""
    found = []
    for task in dict.fromkeys(example.task for example in examples):
        each = [example for example in examples if example.task == task]
        own = source.of(each[0])
        texts = [] if own.plain or own.classes is not None else [r.strip() for e in each for r in e.references]
        stopped = sum(any(stop in text for stop in own.stop) for text in texts)
        several = 0 if own.multiline else sum(first_line(text) != text for text in texts)
        name = f"data.tasks.{task}" if task else "data"
        if several:
            found.append(
                f"{name}.multiline=false: {several} of {len(texts)} references have several lines, and an answer is "
                f"the first one, so that a perfect one is cut; {name}.multiline=true keeps all"
            )
        if stopped:
            found.append(
                f"{name}.stop: {stopped} of {len(texts)} references hold one of {list(own.stop)}, where an answer "
                "ends, so that a perfect one is cut; name other texts"
            )
    return found


def score(examples: Sequence[Example], predictions: Sequence[str], families: Sequence[str]) -> Scores:
    """The scores of these families of `harness.metrics` against the examples' references.

    A line holds, by name of the score, the example's statistics where the score is made of sums, else its own score.
    """
    references, sources = [example.references for example in examples], [example.source for example in examples]
    found = metrics.compute(families, predictions, references, sources)
    lines: list[dict[str, Any]] = [{"index": i, "prediction": text} for i, text in enumerate(predictions)]
    for name, one in found.items():
        parts = [list(row) for row in one.statistics] if one.statistics else one.examples
        for line, part in zip(lines, parts or (), strict=bool(parts)):
            line[name] = part
    reasons = {name: one.reason for name, one in found.items() if one.reason}
    values = {name: one.value for name, one in found.items()}
    for name, value in values.items():
        if value is not None and not math.isfinite(value):
            values[name], reasons[name] = None, f"its scorer gave {value}"
    return Scores(
        values,
        {name: one.signature for name, one in found.items()},
        tuple(lines),
        reasons,
        {name: one.better for name, one in found.items()},
    )


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write one JSON object a line, whole or not at all; null for a number that is NaN or infinite."""
    from harness.results import numbers_or_null, write_atomically

    told = (json.dumps(numbers_or_null(line), ensure_ascii=False, allow_nan=False) for line in lines)
    write_atomically(path, "".join(f"{line}\n" for line in told))


def read_lines(path: Path) -> tuple[dict[str, Any], ...]:
    """What `write_lines` wrote."""
    return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line)
