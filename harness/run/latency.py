"""Latency, throughput and memory of answering: by the untouched base, by the trained model, and by it with its adapter
merged. Settings of it, and the part of a run that measures it; imports torch only to do so."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import first_line
from harness.files import write_atomically
from harness.host.cache import build_once, seal
from harness.host.memory import available
from harness.prepare.tokens import opening
from harness.results.sections import Inference
from harness.settings import InferenceSettings

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.evaluation.answers import Answer
    from harness.measure.peak_memory import Meter


State = Literal["base", "unmerged", "merged"]
"""Which model answers: the untouched base, equally quantized; the trained model as training left it; the same with its
adapter folded into the base's weights."""

KEPT = "inference.json"
"""File of the base's figures."""


class Latency:
    """What is measured of a run's models, one after another, and why something is not."""

    def __init__(self, settings: RunSettings, tokenizer: Any, meter: Meter, ended: Callable[[], object | None]) -> None:
        """`ended`: asked before each batch size, whether the run has to end now."""
        self.settings, self.tokenizer, self.meter, self.ended = settings, tokenizer, meter, ended
        self.found: dict[State, list[Inference]] = {}
        self.reasons: dict[str, str] = {}
        """By field of the record."""

    def explained(self) -> dict[str, str]:
        """Every reason; where nothing was measured, that of the whole section too."""
        states = {name: why for name, why in self.reasons.items() if name.startswith("inference.")}
        if self.found or "inference" in self.reasons:
            return self.reasons
        return self.reasons | {"inference": "; ".join(dict.fromkeys(states.values()))}

    @property
    def wanted(self) -> InferenceSettings | None:
        """How to measure; None: not at all."""
        chosen = self.settings.inference
        return chosen if chosen and chosen.batch_sizes else None

    def measure(self, state: State, answer: Answer, build: Callable[[], Any], copies: int = 0) -> None:
        """Measure the model that `build` gives, by batch size. `copies`: bytes that building it takes. Whatever fails
        here is a reason and no error: it must not cost a run what it has trained and scored."""
        if self.wanted is None:
            self.reasons["inference"] = "off; inference.batch_sizes=[1,4] measures two batch sizes"
            return
        if why := self._never(state, copies):
            self.reasons[f"inference.{state}"] = why
            return
        try:
            model = build().eval()
            for batch in self.wanted.batch_sizes:
                if end := self.ended():
                    self.reasons[f"inference.{state}"] = f"not done: {end}"
                    break
                row = self._one(self.wanted, answer, model, batch)
                self.found.setdefault(state, []).append(row)
        except Exception as error:
            traceback.print_exc()  # to the run's log
            self.reasons[f"inference.{state}"] = f"{type(error).__name__}: {first_line(error)}"
        self._explain()

    def take_base(self, folder: Path | None) -> None:
        """Take over what `measure_base` kept."""
        if folder is not None:
            base = json.loads((folder / KEPT).read_text())
            self.found |= {"base": [Inference(**row) for row in base["base"]]} if base["base"] else {}
            self.reasons |= base["reasons"]

    def _never(self, state: State, copies: int) -> str | None:
        """Why a state is not to be measured."""
        method = self.settings.method
        if state != "base" and not method.trains:
            return "nothing is trained: the base answers"
        if state == "merged" and not method.facts.merges:
            return f"{method.label()} has nothing that can be folded into the base's weights"
        if copies > (free := available()):
            return f"building it would take {copies / 2**30:.1f} GiB, the system has {free / 2**30:.1f}"
        return None

    def _one(self, chosen: InferenceSettings, answer: Answer, model: Any, batch: int) -> Inference:
        """The figures of one batch size."""
        import torch

        from harness.measure.answer_times import clock_of, prompts, repeated, summary
        from harness.prepare.base_model import context_of

        core = model.get_base_model() if hasattr(model, "get_base_model") else model
        head = self.settings.data.head_classes is not None
        new = 0 if head else chosen.new_tokens
        context = context_of(core.config)
        if (needed := chosen.prompt_tokens + new + _virtual_tokens(model)) > context:
            raise ValueError(f"inference.prompt_tokens: {needed} tokens in all, the model reads {context}; lower it")
        device = model.get_input_embeddings().weight.device
        rows = min(len(self.tokenizer), core.config.get_text_config().vocab_size)
        ids = prompts(rows, self.tokenizer.all_special_ids, batch, chosen.prompt_tokens).to(device)
        first = opening(self.tokenizer)[: chosen.prompt_tokens]
        ids[:, : len(first)] = ids.new_tensor(first)  # as any text of this model begins
        write = _classify(model, ids, self.settings) if head else _write(answer, model, ids)
        self.meter.start()
        with torch.no_grad():
            times = repeated(core, write, new, chosen.repeats, chosen.seconds, clock_of(device))
        return summary(times, batch, chosen.prompt_tokens, new, self.meter.peak())

    def _explain(self) -> None:
        """Reasons of what measured states lack."""
        rows = [row for rows in self.found.values() for row in rows]
        why: dict[str, str] = {}
        if any(row.prefill_iqr is None for row in rows):
            why["prefill_iqr"] = "fewer than 3 answers were timed; raise inference.seconds, or inference.repeats"
        if any(not row.new_tokens for row in rows):
            names = ("decode_seconds_per_token", "decode_iqr", "tokens_per_second")
            why |= dict.fromkeys(names, "a classifier writes no text")
        if self.meter.cuda:
            why["rss_growth"] = "the run was on a GPU"
        else:
            why["cuda_allocated"] = "the run was on a CPU"
            if any(row.rss_growth is None for row in rows):
                why["rss_growth"] = "this system does not let the peak be reset between phases"
        self.reasons |= {f"inference.{name}": text for name, text in why.items()} if rows else {}


def _virtual_tokens(model: Any) -> int:
    """Vectors that a method of PEFT puts before the text."""
    return sum(getattr(each, "num_virtual_tokens", None) or 0 for each in getattr(model, "peft_config", {}).values())


def _write(answer: Answer, model: Any, ids: Any) -> Callable[[int], Any]:
    """Greedy answers of a given number of tokens, as scores are made, but that no token is the end."""
    from transformers import GenerationConfig

    def write(new: int) -> Any:
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False, max_new_tokens=new, min_new_tokens=new
        )
        return answer(model, ids, ids.new_ones(ids.shape), config)

    return write


def _classify(model: Any, ids: Any, settings: RunSettings) -> Callable[[int], Any]:
    """The classes' scores of each text, as scores are made."""
    from harness.prepare.base_model import DTYPES
    from harness.prepare.batch import Encoded, collate
    from harness.prepare.forward import LabelForward

    forward = LabelForward(model, DTYPES[settings.precision])
    texts = [Encoded(tuple(row), label=0) for row in ids.tolist()]  # the label is not looked at
    batch = collate(texts, int(model.config.pad_token_id)).to(ids.device)
    return lambda new: forward.logits(batch)


def measure_base(
    settings: RunSettings,
    model: Any,
    tokenizer: Any,
    meter: Meter,
    ended: Callable[[], object | None],
    folder: Path,
) -> None:
    """Keep the untouched base's figures in `folder`, where they are not yet; what failed is tried again."""
    from harness.methods import answer

    def make(folder: Path) -> None:
        latency = Latency(settings, tokenizer, meter, ended)
        latency.measure("base", answer, lambda: model)
        rows = [row.model_dump() for row in latency.found.get("base", [])]
        write_atomically(folder / KEPT, json.dumps({"base": rows, "reasons": latency.reasons}))

    there = folder.exists()
    build_once(folder, make)
    if there and "inference.base" in json.loads((folder / KEPT).read_text())["reasons"]:
        make(folder)
        seal(folder, folder.name)
