"""What a run works on: the base model, and the texts that it is trained on, validated on and scored."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from harness import data, targets
from harness.data import Example
from harness.data.batching import Batch, Encoded, Encoder, collate, training_batches
from harness.environment import resolve_device
from harness.errors import UserError
from harness.evaluate import Answer, Scores, classify, generate, score, score_classes
from harness.forward import LabelForward
from harness.methods import Kind, Site
from harness.quantization import load_quantized

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
            lambda quantized: settings.model.load(dtype, device, quantized, settings.data.classes),
        )
    return base


def kind_of(settings: RunSettings, model: Any) -> Kind:
    """What kind of model this is, for these data."""
    if settings.data.classes is not None:
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


def encoder_of(settings: RunSettings, base: Base) -> Encoder:
    """What turns examples of the run's data into token ids of this model."""
    model, tokenizer = base
    start = model.config.decoder_start_token_id if kind_of(settings, model) == "seq2seq" else None
    return Encoder(tokenizer, settings.data, settings.train.max_length, context_of(model.config), start)


class Task:
    """The texts of a run: what is trained on, validated on and scored, ready for one tokenizer."""

    def __init__(self, settings: RunSettings, base: Base, shots: int | None = None) -> None:
        """`shots`: solved examples in front of each test input; None: as the method says."""
        model, tokenizer = base
        self.settings, self.model, self.tokenizer = settings, model, tokenizer
        splits, _ = data.load(settings.data)
        self.device = model.get_input_embeddings().weight.device
        self.kind = kind_of(settings, model)
        self.encoder = encoder_of(settings, base)
        self.pad = model.config.pad_token_id = int(tokenizer.pad_token_id)
        self.train = splits.train
        self.test = pick(splits.test, settings.eval.test_examples)
        chosen = pick(splits.validation, settings.train.validation_examples)
        if not self.test or not chosen:
            raise UserError("the test or the validation split is empty; check the data")
        before = self._solved(settings.method.shots if shots is None else shots)
        self.prompts = [self.encoder.prompt(example, settings.eval.max_new_tokens, before) for example in self.test]
        encoded = sorted((self.encoder.pair(e, e.references[0]) for e in chosen), key=len)
        self.validation = self._batched(encoded, settings.train.batch_size)

    def _solved(self, shots: int) -> str:
        """`shots` training examples drawn by the run's seed, each with its first answer and a blank line behind it."""
        if shots > len(self.train):
            available = len(self.train)
            raise UserError(f"method.shots={shots}: the training split has {available} examples; give at most that")
        chosen = random.Random(f"shots {self.settings.seed}").sample(self.train, shots)
        return "".join(f"{self.settings.data.render(example)} {example.references[0]}\n\n" for example in chosen)

    def _batched(self, examples: Sequence[Encoded], size: int) -> list[Batch]:
        return [collate(examples[i : i + size], self.pad).to(self.device) for i in range(0, len(examples), size)]

    def predict(self, answer: Answer, model: Any, forward: LabelForward, progress: Callable[[int], None]) -> list[str]:
        """What a model says of each test example: a text, or a class."""
        if self.kind != "classification":
            return generate(answer, model, self.tokenizer, self.prompts, self.settings.eval, progress)
        texts = [Encoded(tuple(prompt), label=0) for prompt in self.prompts]  # the label is not looked at
        return classify(forward, self._batched(texts, self.settings.eval.batch_size), self.settings.data.classes or ())

    def score(self, predictions: Sequence[str]) -> Scores:
        """Scores of what `predict` gave."""
        if self.kind == "classification":
            return score_classes(self.test, predictions)
        return score(self.test, predictions, self.settings.data.metrics)

    def site(self) -> Site:
        """Where a method is applied."""

        def inputs() -> Iterator[dict[str, torch.Tensor]]:
            size, seed = self.settings.train.batch_size, self.settings.seed
            for examples in self.batches(size, seed):
                yield collate(examples, self.pad).to(self.device).inputs()

        if self.kind not in (method := self.settings.method).facts.kinds:
            works = ", ".join(method.facts.kinds)
            raise UserError(f"method={method.name}: does not work on a {self.kind} model (it does on: {works})")
        roles = targets.resolve(self.model, self.settings.roles, self.settings.targets.modules)
        return Site(self.tokenizer, roles, self.kind, self.settings.train.steps, inputs)

    def batches(self, size: int, seed: int) -> Iterator[list[Encoded]]:
        """Endless training batches."""
        return training_batches(self.train, self.encoder, size, seed)
