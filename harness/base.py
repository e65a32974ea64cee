"""The untouched base model's own scores, made once and reused by every run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import forgetting
from harness.cache import build_once, cache_folder
from harness.data.baselines import trivial
from harness.evaluate import write_lines
from harness.forward import LabelForward
from harness.methods import answer
from harness.results import hash_of
from harness.task import DTYPES, Base, Task, kind_of

if TYPE_CHECKING:
    from harness.config import RunSettings
    from harness.run import Watch


@dataclass(frozen=True)
class BaseFolders:
    """Where the measurements of an untouched base lie, each made once."""

    quality: Path
    """scores.json and predictions.jsonl on the test examples."""
    forgetting: Path
    """text.json, panel.jsonl, and the logits on general text."""

    @staticmethod
    def of(settings: RunSettings) -> BaseFolders:
        """The folders for these settings: whatever could change a measurement is part of their names."""
        key = settings.key()
        outcome, train = key["settings"], settings.train
        base = {name: key[name] for name in ("model", "environment")}
        base |= {name: outcome[name] for name in ("quantization", "dtype")}
        scored = {k: v for k, v in outcome["eval"].items() if k != "score"}
        validated = [train.validation_examples, train.batch_size, train.max_length]
        quality = base | {"data": key["data"], "eval": scored, "validation": validated}
        forgotten = base | {"forgetting": outcome["forgetting"], "batch": settings.eval.batch_size}
        if settings.data.head_classes is not None:
            forgotten["head"] = True  # of which nothing is measured: not what a run without a head looks for
        return BaseFolders(
            cache_folder() / "base" / f"quality-{hash_of(quality)[:16]}",
            cache_folder() / "base" / f"forgetting-{hash_of(forgotten)[:16]}",
        )

    def complete(self) -> bool:
        """Nothing is left to measure."""
        return self.quality.exists() and self.forgetting.exists()


def measure_base(settings: RunSettings, base: Base, watch: Watch) -> None:
    """Measure the untouched base where that has not been done."""
    folders = BaseFolders.of(settings)
    model, tokenizer = base
    model.requires_grad_(False)
    forward = LabelForward(model, DTYPES[settings.precision])

    def quality(folder: Path) -> None:
        task = Task(settings, base, shots=0)
        scores = task.score(task.predict(answer, model, forward, watch.progress))
        scored = {"val_loss": forward.mean_loss(task.validation)} | scores.quality
        baselines = trivial(settings.data, task.train, task.test)
        content = {"quality": scored, "signatures": scores.signatures, "baselines": baselines}
        (folder / "scores.json").write_text(json.dumps(content))
        write_lines(folder / "predictions.jsonl", scores.lines)

    def forgotten(folder: Path) -> None:
        if kind_of(settings, model) != "causal":
            return
        batches = forgetting.windows(tokenizer, settings.forgetting, model.get_input_embeddings().weight.device)
        loss = forgetting.text_loss(forward, batches, keep=folder / "logits.safetensors", base=None)
        (folder / "text.json").write_text(json.dumps(vars(loss)))
        panel = forgetting.panel_scores(answer, model, tokenizer, settings.eval, watch.progress)
        write_lines(folder / "panel.jsonl", panel)

    with watch.phase("base scores"):
        build_once(folders.quality, quality)
    with watch.phase("base forgetting"):
        build_once(folders.forgetting, forgotten)
