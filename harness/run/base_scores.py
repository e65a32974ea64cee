"""The untouched base model's own scores, made once and reused by every run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import finite
from harness.evaluation import general_text, panel
from harness.evaluation.lm_eval import score_tasks
from harness.evaluation.lm_eval_model import wrapped
from harness.evaluation.lm_eval_tasks import Tasks, load_tasks
from harness.evaluation.no_model import trivial
from harness.evaluation.predict import predict, score_task
from harness.evaluation.robustness import perturbed_tasks, score_perturbed
from harness.files import hash_of
from harness.host.cache import build_once, cache_folder
from harness.host.environment import resolve_device
from harness.measure.peak_memory import Meter
from harness.methods import answer
from harness.notices import say
from harness.prepare.base_model import DTYPES, LoadedModel, kind_of
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.forward import LabelForward
from harness.results.lines import write_lines
from harness.run import latency

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.run.progress import RunProgress


MANY = 1000
"""Examples of lm-evaluation-harness that a user should know of before they are asked."""


@dataclass(frozen=True)
class BaseFolders:
    """Where the measurements of an untouched base lie, each made once."""

    quality: Path
    """scores.json and predictions.jsonl on the test examples, and predictions of other readings of them."""
    forgetting: Path
    """text.json, panel.jsonl, and the logits on general text."""
    lm_eval: Path | None
    """results.json and samples.jsonl of lm-evaluation-harness; None where no task of it is named."""
    inference: Path | None
    """inference.json; None where no batch size is named."""

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
        tasks = base | {"lm_eval": outcome.get("lm_eval")}
        speed, head = settings.inference, settings.data.head_classes
        timed = base | {"inference": speed and speed.model_dump(), "head": head and len(head)}
        if head is not None:
            forgotten["head"] = True  # of which nothing is measured: not what a run without a head looks for
        return BaseFolders(
            cache_folder() / "base" / f"quality-{hash_of(quality)[:16]}",
            cache_folder() / "base" / f"forgetting-{hash_of(forgotten)[:16]}",
            cache_folder() / "base" / f"lm-eval-{hash_of(tasks)[:16]}" if settings.lm_eval.tasks else None,
            cache_folder() / "base" / f"inference-{hash_of(timed)[:16]}" if speed and speed.batch_sizes else None,
        )


def measure_base(settings: RunSettings, base: LoadedModel, progress: RunProgress) -> None:
    """Measure the untouched base where that has not been done."""
    folders = BaseFolders.of(settings)
    model, tokenizer = base
    meter = Meter(resolve_device(settings.device))
    model.requires_grad_(False)
    forward = LabelForward(model, DTYPES[settings.precision])

    def predictions(task: EncodedTask) -> Any:
        return predict(task, answer, model, forward, progress.generated)

    def quality(folder: Path) -> None:
        task = EncodedTask(settings, base, shots=0)
        scores = score_task(task, predictions(task))
        scored = {"val_loss": finite("validation loss", forward.mean_loss(task.validation))} | scores.quality
        content: dict[str, Any] = {
            "quality": scored,
            "signatures": scores.signatures,
            "reasons": scores.reasons,
            "better": scores.better,
            "baselines": trivial(settings.data, task.train, task.test),
        }
        write_lines(folder / "predictions.jsonl", scores.lines)
        content["readings"] = score_perturbed(
            perturbed_tasks(settings, base, shots=0), task, scores, predictions, folder
        )
        (folder / "scores.json").write_text(json.dumps(content))

    def forgotten(folder: Path) -> None:
        if kind_of(settings, model) != "causal":
            return
        chosen = settings.forgetting
        batches = general_text.windows(model, tokenizer, chosen)
        kept = folder / "logits.safetensors"
        loss = general_text.text_loss(forward, batches, chosen.compare_tokens, keep=kept, base=None)
        (folder / "text.json").write_text(json.dumps({"loss": loss.loss, "tokens": loss.tokens}))
        lines = panel.panel_scores(answer, model, tokenizer, chosen.panel, settings.eval, progress.generated)
        write_lines(folder / "panel.jsonl", lines)

    def lm_eval(folder: Path) -> None:
        lm = wrapped(answer, model, tokenizer, settings.eval.batch_size)
        scores = score_tasks(lm, tasks or load_tasks(settings.lm_eval), settings.lm_eval, progress.answered)
        content = vars(scores).copy()
        write_lines(folder / "samples.jsonl", content.pop("lines"))
        (folder / "results.json").write_text(json.dumps(content))

    asked = folders.lm_eval if kind_of(settings, model) == "causal" else None
    # What is missing of them is told before the rest is measured.
    tasks = tasks_of(settings, progress) if asked and not asked.exists() else None
    with progress.phase("base scores"):
        build_once(folders.quality, quality)
    with progress.phase("base forgetting"):
        build_once(folders.forgetting, forgotten)
    if asked:
        with progress.phase("base lm-eval"):
            build_once(asked, lm_eval)
    if folders.inference:
        with progress.phase("base inference"):
            latency.measure_base(settings, model, tokenizer, meter, progress.ended, folders.inference)


def tasks_of(settings: RunSettings, progress: RunProgress) -> Tasks:
    """The run's tasks of lm-evaluation-harness; says how many examples they have, where that is many."""
    with progress.phase("lm-eval tasks"):
        tasks = load_tasks(settings.lm_eval)
    if (examples := tasks.examples(settings.lm_eval.limit)) >= MANY:
        say(
            f"lm-eval: {examples:,} examples, before and after each training (before, once a base); "
            "lm_eval.limit=N takes N of each task",
            kept=False,
        )
    return tasks
