"""What a run works on: the base model, and the texts that it is trained on, validated on and scored."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from harness import data
from harness.data import Example
from harness.data.splits import by_task
from harness.errors import UserError
from harness.methods import Site
from harness.prepare.base_model import LoadedModel, context_of, kind_of
from harness.prepare.batch import Batch, Encoded, collate
from harness.prepare.decoding import starts
from harness.prepare.encoding import Encoder
from harness.prepare.order import training_batches
from harness.prepare.site import site_of
from harness.prepare.tokens import usable
from harness.results.tuned import VAL_LOSS

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings


def encoder_of(settings: RunSettings, base: LoadedModel) -> Encoder:
    """What turns examples of the run's data into token ids of this model."""
    model, tokenizer = base
    config = model.config
    first = starts(model) if kind_of(settings, model) == "seq2seq" else ()
    length, rows = settings.train.max_length, config.get_text_config().vocab_size
    return Encoder(tokenizer, settings.data, length, context_of(config), first, rows)


class EncodedTask:
    """The texts of a run: what is trained on, validated on and scored, ready for one tokenizer."""

    def __init__(self, settings: RunSettings, base: LoadedModel, shots: int | None = None) -> None:
        """`shots`: solved examples in front of each test input; None: as the method says."""
        model, tokenizer = base
        self.settings, self.model, self.tokenizer = settings, model, tokenizer
        splits, _ = data.load(settings.data)
        self.device = model.get_input_embeddings().weight.device
        self.kind = kind_of(settings, model)
        self.pad = model.config.pad_token_id = usable(tokenizer, model.config, self.kind != "classification")
        self.encoder = encoder_of(settings, base)
        self.train = splits.train
        chosen = by_task(splits.validation, settings.train.validation_examples)
        self.test = by_task(splits.test, settings.eval.test_examples)
        """What is answered and scored; of a trial of tuning whose answers choose, the validation examples instead."""
        if not self.test or not chosen:
            raise UserError("the test or the validation split is empty; check the data")
        if settings.trial is not None and settings.tune.by != VAL_LOSS:
            self.test = chosen
        self.shots = settings.method.shots if shots is None else shots
        self.truncated: dict[str, tuple[int, int]] = {}
        """By split: examples that were cut to fit, of how many; of training, those that were trained on."""
        encoded = sorted((self.encoder.pair(e, e.references[0]) for e in chosen), key=len)
        self._count("validation", encoded)
        learned = [text for e in chosen for text in settings.data.of(e).learned(e)]
        self.validation_bytes = sum(len(text.encode()) for text in learned)
        """Of the validation examples' answers in UTF-8."""
        self.validation_shortened = sum(each.shortened for each in encoded)
        """Of how many of them text was left out."""
        self.validation = self.batched(encoded, settings.train.batch_size)
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

    def batched(self, examples: Sequence[Encoded], size: int) -> list[Batch]:
        return [collate(examples[i : i + size], self.pad).to(self.device) for i in range(0, len(examples), size)]

    def site(self) -> Site:
        """Where a method is applied."""

        def inputs() -> Iterator[dict[str, torch.Tensor]]:
            size, seed = self.settings.train.batch_size, self.settings.seed
            for examples in training_batches(self.train, self.encoder, size, seed):
                yield collate(examples, self.pad).to(self.device).inputs()

        return site_of(self.settings, self.model, self.tokenizer, self.kind, inputs)

    def bits_per_byte(self, loss: float) -> float:
        """A validation loss in nats per token, by byte of the answers: see `BitsPerByte`."""
        tokens = sum(len(batch.targets) for batch in self.validation)
        return loss * tokens / (math.log(2) * self.validation_bytes)

    def batches(self, size: int, seed: int) -> Iterator[list[Encoded]]:
        """Endless training batches. Each that is taken counts in `truncated`."""
        for examples in training_batches(self.train, self.encoder, size, seed):
            self._count("train", examples)
            yield examples
