"""What a model says of the test examples of a task, and the scores of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness import data, metrics
from harness.data.splits import by_task
from harness.evaluation.answers import Answer, classify, write_answers
from harness.evaluation.likelihood import by_likelihood, log_likelihoods
from harness.evaluation.scores import Prediction, Scores, of_each_task, score_examples
from harness.metrics.tools.java import FAMILIES as JAVA
from harness.prepare.base_model import LoadedModel
from harness.prepare.batch import Encoded
from harness.prepare.decoding import stated
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.forward import LabelForward

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings


def rehearse(settings: RunSettings) -> None:
    """Try each task's families of scores on one example and its own reference, before anything is loaded or trained.
    Those that are made in Java answer with a reason where they fail, and are left out: they take seconds. Raises
    MetricFailed."""
    splits, _ = data.load(settings.data)
    for example in by_task(splits.test, 1):
        source = settings.data.of(example)
        if not source.plain:
            names = [name for name in source.metrics if name not in JAVA]
            texts = [example.references[0]], [example.references], [example.source]
            metrics.compute(names, *texts, run_code=settings.eval.run_code)


def predict(
    task: EncodedTask, answer: Answer, model: Any, forward: LabelForward, progress: Callable[[int], None]
) -> list[Prediction]:
    """What a model says of each test example: a text, a class, or the likelihood of a text without a prompt."""
    predictions: dict[int, Prediction] = {}
    size = task.settings.eval.batch_size
    if task.kind == "classification":
        texts = [Encoded(tuple(prompt), label=0) for prompt in task.prompts.values()]  # the label is not looked at
        classes = task.settings.data.head_classes or ()
        predictions |= zip(task.prompts, classify(forward, task.batched(texts, size), classes), strict=True)
    else:
        for source, chosen in of_each_task(task.settings.data, task.test, task.prompts):
            prompts, loaded = [task.prompts[i] for i in chosen], LoadedModel(model, task.tokenizer)
            written = write_answers(answer, loaded, prompts, task.settings.eval, progress, source)
            predictions |= zip(chosen, written, strict=True)
    judged = [encoded for rows in task.judged.values() for encoded in rows]
    values = iter(log_likelihoods(forward, judged, size, task.pad, task.device, progress))
    for i, rows in task.judged.items():
        likelihoods = [next(values) for _ in rows]
        source = task.settings.data.of(task.test[i])
        if source.plain:
            ((value, count),) = likelihoods
            predictions[i] = Prediction("", log_likelihood=value, tokens=count, cut=rows[0].cut)
        else:
            predictions[i] = by_likelihood(likelihoods, source.classes or ())
    return [predictions[i] for i in range(len(task.test))]


def score_task(task: EncodedTask, predictions: Sequence[Prediction], only: str = "") -> Scores:
    """Scores of what `predict` gave, with which answers ended by themselves, and how they were written. `only`: see
    `score`."""
    written = any(prediction.ended is not None for prediction in predictions)
    settings = task.settings
    answers = stated(settings.eval, task.model, task.tokenizer) if written else ""
    return score_examples(settings.data, task.test, predictions, answers, only, run_code=settings.eval.run_code)
