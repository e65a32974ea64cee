"""What a run works on: the base model, and the texts that it is trained on, validated on and scored."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from harness import data, targets
from harness.data import Example, Source
from harness.data.batching import Batch, Encoded, collate, training_batches
from harness.data.encoding import Encoder
from harness.data.tokens import usable
from harness.decoding import settle, starts, stated
from harness.environment import resolve_device
from harness.errors import UserError
from harness.evaluate import (
    Answer,
    Prediction,
    Scores,
    by_likelihood,
    classify,
    generate,
    log_likelihoods,
    score,
    score_classes,
    score_texts,
)
from harness.forward import LabelForward, states_together
from harness.methods import Kind, Site
from harness.quantization import load_quantized
from harness.sections import Better

if TYPE_CHECKING:
    from harness.config import RunSettings

Base = tuple[Any, Any]
"""A model and its tokenizer."""

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def load_base(settings: RunSettings) -> Base:
    """The base model on the run's device, and its tokenizer."""
    dtype = DTYPES[settings.precision]
    device = resolve_device(settings.device)
    # A new classification head is part of the base, which all seeds share.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base: Base = load_quantized(
            settings.quantization,
            dtype,
            lambda quantized: settings.model.load(dtype, device, quantized, settings.data.head_classes),
        )
    states_together(base[0])
    settle(*base)
    return base


def kind_of(settings: RunSettings, model: Any) -> Kind:
    """What kind of model this is, for these data."""
    if settings.data.head_classes is not None:
        return "classification"
    return "seq2seq" if model.config.is_encoder_decoder else "causal"


def context_of(config: Any) -> int:
    """Tokens that a model can read at once; a large number where its positions are relative."""
    positions: int = getattr(config, "max_position_embeddings", None) or 10**9
    # RoBERTa counts positions from behind the padding's own.
    return positions - config.pad_token_id - 1 if config.model_type == "roberta" else positions


def pick(examples: Sequence[Example], count: int | None) -> list[Example]:
    """`count` examples, the same for every run and seed, in the order of the file; all for None."""
    if count is None or count >= len(examples):
        return list(examples)
    chosen = sorted(random.Random("examples").sample(range(len(examples)), count))
    return [examples[i] for i in chosen]


def by_task(examples: Sequence[Example], count: int | None) -> list[Example]:
    """As `pick`, of each task of a mixture."""
    tasks = dict.fromkeys(example.task for example in examples)
    return [chosen for task in tasks for chosen in pick([e for e in examples if e.task == task], count)]


def together(parts: Sequence[tuple[str, list[int], Scores]]) -> Scores:
    """The scores of a mixture's tasks: name, indices of its test examples, its scores."""
    quality: dict[str, float | None] = {}
    signatures: dict[str, str] = {}
    reasons: dict[str, str] = {}
    better: dict[str, Better] = {}
    lines = []
    for task, indices, scores in parts:
        reasons |= {f"{task}/{name}": why for name, why in scores.reasons.items()}
        better |= {f"{task}/{name}": which for name, which in scores.better.items()}
        quality |= {f"{task}/{name}": value for name, value in scores.quality.items()}
        signatures |= {f"{task}/{name}": text for name, text in scores.signatures.items()}
        lines += [line | {"index": i, "task": task} for i, line in zip(indices, scores.lines, strict=True)]
    return Scores(quality, signatures, tuple(lines), reasons, better)


def encoder_of(settings: RunSettings, base: Base) -> Encoder:
    """What turns examples of the run's data into token ids of this model."""
    model, tokenizer = base
    config = model.config
    first = starts(model) if kind_of(settings, model) == "seq2seq" else ()
    length, rows = settings.train.max_length, config.get_text_config().vocab_size
    return Encoder(tokenizer, settings.data, length, context_of(config), first, rows)


def site_of(
    settings: RunSettings,
    model: Any,
    tokenizer: Any,
    kind: Kind,
    inputs: Callable[[], Iterator[dict[str, torch.Tensor]]],
) -> Site:
    """Where the run's method is applied to a model of this kind. Raises UserError."""
    if kind not in (method := settings.method).facts.kinds:
        works = ", ".join(method.facts.kinds)
        raise UserError(f"method={method.name}: does not work on a {kind} model (it does on: {works})")
    roles = targets.resolve(model, settings.roles, settings.targets.modules)
    return Site(tokenizer, roles, kind, settings.train.steps, inputs, targets.left_out(model, settings.roles))


class Task:
    """The texts of a run: what is trained on, validated on and scored, ready for one tokenizer."""

    def __init__(self, settings: RunSettings, base: Base, shots: int | None = None) -> None:
        """`shots`: solved examples in front of each test input; None: as the method says."""
        model, tokenizer = base
        self.settings, self.model, self.tokenizer = settings, model, tokenizer
        splits, _ = data.load(settings.data)
        self.device = model.get_input_embeddings().weight.device
        self.kind = kind_of(settings, model)
        self.pad = model.config.pad_token_id = usable(tokenizer, model.config, self.kind != "classification")
        self.encoder = encoder_of(settings, base)
        self.train = splits.train
        self.test = by_task(splits.test, settings.eval.test_examples)
        chosen = by_task(splits.validation, settings.train.validation_examples)
        if not self.test or not chosen:
            raise UserError("the test or the validation split is empty; check the data")
        self.shots = settings.method.shots if shots is None else shots
        self.truncated: dict[str, tuple[int, int]] = {}
        """By split: examples that were cut to fit, of how many; of training, those that were trained on."""
        encoded = sorted((self.encoder.pair(e, e.references[0]) for e in chosen), key=len)
        self._count("validation", encoded)
        self.validation = self._batched(encoded, settings.train.batch_size)
        self._prepare_test()

    def _prepare_test(self) -> None:
        """Encode the test examples, each as its task is answered: prompts to go on from, or texts to be judged."""
        self.prompts: dict[int, list[int]] = {}
        self.judged: dict[int, list[Encoded]] = {}
        cuts = []
        shots = {task: self._solved(task) for task in {example.task for example in self.test}}
        for i, example in enumerate(self.test):
            source = self.settings.data.of(example)
            if source.plain:
                self.judged[i] = [self.encoder.pair(example, example.references[0])]
                cuts.append(self.judged[i][0].cut)
            elif source.classes is not None and source.head_classes is None:
                self.judged[i], cut = self.encoder.candidates(example, shots[example.task])
                cuts.append(cut)
            else:
                prompt = self.encoder.fit(example, self.settings.eval.max_new_tokens, shots[example.task])
                self.prompts[i] = list(prompt.ids)
                cuts.append(prompt.cut)
        self.truncated["test"] = (sum(cuts), len(cuts))

    def first_prompt(self) -> list[int]:
        """Token ids of the first test example, to go on from."""
        return next(iter(self.prompts.values())) if self.prompts else list(self.judged[0][0].ids)

    def _count(self, split: str, examples: Sequence[Encoded]) -> None:
        cut, all_ = self.truncated.get(split, (0, 0))
        self.truncated[split] = (cut + sum(example.cut for example in examples), all_ + len(examples))

    def _solved(self, task: str) -> list[Example]:
        """Training examples of a task drawn by the run's seed, as many as are shown in front of each test input."""
        train = [example for example in self.train if example.task == task]
        if self.shots > len(train):
            raise UserError(
                f"method.shots={self.shots}: the training split has {len(train)} examples; give at most that"
            )
        return random.Random(f"shots {self.settings.seed}").sample(train, self.shots)

    def _batched(self, examples: Sequence[Encoded], size: int) -> list[Batch]:
        return [collate(examples[i : i + size], self.pad).to(self.device) for i in range(0, len(examples), size)]

    def predict(
        self, answer: Answer, model: Any, forward: LabelForward, progress: Callable[[int], None]
    ) -> list[Prediction]:
        """What a model says of each test example: a text, a class, or the likelihood of a text without a prompt."""
        made: dict[int, Prediction] = {}
        size = self.settings.eval.batch_size
        if self.kind == "classification":
            texts = [Encoded(tuple(prompt), label=0) for prompt in self.prompts.values()]  # the label is not looked at
            classes = self.settings.data.head_classes or ()
            made |= zip(self.prompts, classify(forward, self._batched(texts, size), classes), strict=True)
        else:
            for source, chosen in self._of_each_task(self.prompts):
                prompts = [self.prompts[i] for i in chosen]
                written = generate(answer, model, self.tokenizer, prompts, self.settings.eval, progress, source)
                made |= zip(chosen, written, strict=True)
        judged = [encoded for rows in self.judged.values() for encoded in rows]
        found = iter(log_likelihoods(forward, judged, size, self.pad, self.device, progress))
        for i, rows in self.judged.items():
            likelihoods = [next(found) for _ in rows]
            source = self.settings.data.of(self.test[i])
            if source.plain:
                ((value, count),) = likelihoods
                made[i] = Prediction("", log_likelihood=value, tokens=count, cut=rows[0].cut)
            else:
                made[i] = by_likelihood(likelihoods, source.classes or ())
        return [made[i] for i in range(len(self.test))]

    def _of_each_task(self, indices: Iterable[int]) -> list[tuple[Source, list[int]]]:
        """Test examples by the task that they belong to."""
        groups: dict[str, list[int]] = {}
        for i in indices:
            groups.setdefault(self.test[i].task, []).append(i)
        return [(self.settings.data.of(self.test[group[0]]), group) for group in groups.values()]

    def score(self, predictions: Sequence[Prediction]) -> Scores:
        """Scores of what `predict` gave; of a mixture, those of each task under its name, as in `gsm8k/accuracy`."""
        parts = []
        for source, chosen in self._of_each_task(range(len(self.test))):
            examples, made = [self.test[i] for i in chosen], [predictions[i] for i in chosen]
            if source.plain:
                scores = score_texts(made, examples)
            elif source.classes is not None:
                scores = score_classes(examples, made, source)
            else:
                scores = score(examples, [prediction.text for prediction in made], source.metrics)
            parts.append((examples[0].task, chosen, self._as_written(scores, made)))
        return parts[0][2] if len(parts) == 1 and not parts[0][0] else together(parts)

    def _as_written(self, scores: Scores, made: Sequence[Prediction]) -> Scores:
        """The scores, with which answers ended by themselves, and how they were written; as they are where none was."""
        if all(prediction.ended is None for prediction in made):
            return scores
        lines = (line | {"ended": p.ended} for line, p in zip(scores.lines, made, strict=True))
        said = {"answers": stated(self.settings.eval, self.model, self.tokenizer)}
        return replace(scores, lines=tuple(lines), signatures=scores.signatures | said)

    def site(self) -> Site:
        """Where a method is applied."""

        def inputs() -> Iterator[dict[str, torch.Tensor]]:
            size, seed = self.settings.train.batch_size, self.settings.seed
            for examples in training_batches(self.train, self.encoder, size, seed):
                yield collate(examples, self.pad).to(self.device).inputs()

        return site_of(self.settings, self.model, self.tokenizer, self.kind, inputs)

    def batches(self, size: int, seed: int) -> Iterator[list[Encoded]]:
        """Endless training batches. Each that is taken counts in `truncated`."""
        for examples in training_batches(self.train, self.encoder, size, seed):
            self._count("train", examples)
            yield examples
