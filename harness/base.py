"""The untouched base model's own scores, made once and reused by every run, and forgetting as measured against them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import forgetting, inference
from harness.cache import build_once, cache_folder
from harness.data.baselines import trivial
from harness.environment import resolve_device
from harness.errors import finite
from harness.evaluate import read_lines, write_lines
from harness.forward import LabelForward
from harness.lm_eval_tasks import compare, score_tasks
from harness.measure.memory import Meter
from harness.methods import answer
from harness.results import hash_of
from harness.robustness import readings, reread
from harness.sections import Forgetting, LmEvalTask
from harness.task import DTYPES, Base, Task, kind_of

if TYPE_CHECKING:
    from harness.config import RunSettings
    from harness.run import Watch


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


def measure_base(settings: RunSettings, base: Base, watch: Watch) -> None:
    """Measure the untouched base where that has not been done."""
    folders = BaseFolders.of(settings)
    model, tokenizer = base
    meter = Meter(resolve_device(settings.device))
    model.requires_grad_(False)
    forward = LabelForward(model, DTYPES[settings.precision])

    def predict(task: Task) -> Any:
        return task.predict(answer, model, forward, watch.progress)

    def quality(folder: Path) -> None:
        task = Task(settings, base, shots=0)
        scores = task.score(predict(task))
        scored = {"val_loss": finite("validation loss", forward.mean_loss(task.validation))} | scores.quality
        content: dict[str, Any] = {
            "quality": scored,
            "signatures": scores.signatures,
            "reasons": scores.reasons,
            "better": scores.better,
            "baselines": trivial(settings.data, task.train, task.test),
        }
        write_lines(folder / "predictions.jsonl", scores.lines)
        content["readings"] = reread(readings(settings, base, shots=0), task, scores, predict, folder)
        (folder / "scores.json").write_text(json.dumps(content))

    def forgotten(folder: Path) -> None:
        if kind_of(settings, model) != "causal":
            return
        chosen = settings.forgetting
        batches = forgetting.windows(model, tokenizer, chosen)
        kept = folder / "logits.safetensors"
        loss = forgetting.text_loss(forward, batches, chosen.compare_tokens, keep=kept, base=None)
        (folder / "text.json").write_text(json.dumps({"loss": loss.loss, "tokens": loss.tokens}))
        panel = forgetting.panel_scores(answer, model, tokenizer, chosen.panel, settings.eval, watch.progress)
        write_lines(folder / "panel.jsonl", panel)

    def lm_eval(folder: Path) -> None:
        results, lines, better = score_tasks(answer, model, tokenizer, settings.lm_eval, settings.eval.batch_size)
        (folder / "results.json").write_text(json.dumps({"results": results, "better": better}))
        write_lines(folder / "samples.jsonl", lines)

    with watch.phase("base scores"):
        build_once(folders.quality, quality)
    with watch.phase("base forgetting"):
        build_once(folders.forgetting, forgotten)
    if folders.lm_eval and kind_of(settings, model) == "causal":
        with watch.phase("base lm-eval"):
            build_once(folders.lm_eval, lm_eval)
    if folders.inference:
        with watch.phase("base inference"):
            inference.measure_base(settings, model, tokenizer, meter, watch.ended, folders.inference)


def measure_forgetting(
    settings: RunSettings, folders: BaseFolders, model: Any, tokenizer: Any, forward: LabelForward, watch: Watch
) -> tuple[Forgetting, list[dict[str, Any]]]:
    """General text and the panel beside what the untouched base gave, and a line for each item of the panel."""
    chosen, kept = settings.forgetting, folders.forgetting / "logits.safetensors"
    text_before = json.loads((folders.forgetting / "text.json").read_text())
    batches = forgetting.windows(model, tokenizer, chosen)
    after = forgetting.text_loss(forward, batches, chosen.compare_tokens, keep=None, base=kept)
    assert after.divergence is not None
    before = read_lines(folders.forgetting / "panel.jsonl")
    lines = forgetting.panel_scores(
        settings.method.generate, model, tokenizer, chosen.panel, settings.eval, watch.progress
    )
    changes = forgetting.changes(before, lines)
    shares = forgetting.shares(before), forgetting.shares(lines)
    found = Forgetting(
        text=forgetting.describe(chosen),
        tokens=after.tokens,
        loss_before=text_before["loss"],
        loss_after=after.loss,
        compared_tokens=after.divergence.tokens,
        kl=after.divergence.kl,
        kl_std=after.divergence.kl_std,
        kl_quantiles=after.divergence.kl_quantiles,
        agreement=after.divergence.agreement,
        panel=Path(chosen.panel).name,
        panel_items=len(lines),
        panel_before=shares[0]["all"],
        panel_after=shares[1]["all"],
        panel_lost=sum(lost for lost, _ in changes.values()),
        panel_gained=sum(gained for _, gained in changes.values()),
        panel_by_task={task: (shares[0][task], shares[1][task]) for task in sorted(changes)},
        panel_changes={task: changes[task] for task in sorted(changes)},
    )
    return found, [
        {"index": i, "task": old["task"], "before": old["answer"], "after": new["answer"]}
        | {"right_before": old["right"], "right_after": new["right"]}
        for i, (old, new) in enumerate(zip(before, lines, strict=True))
    ]


def measure_lm_eval(
    settings: RunSettings, before: Path, folder: Path, model: Any, tokenizer: Any
) -> dict[str, LmEvalTask]:
    """The tasks of lm-evaluation-harness, beside what the untouched base gave (in the folder `before`)."""
    told = json.loads((before / "results.json").read_text())
    results_before, better = told["results"], told["better"]
    lines_before = read_lines(before / "samples.jsonl")
    if settings.method.untouched:
        results, lines = results_before, list(lines_before)
    else:
        batch_size = settings.eval.batch_size
        results, lines, _ = score_tasks(settings.method.generate, model, tokenizer, settings.lm_eval, batch_size)
    write_lines(folder / "lm_eval.jsonl", lines)
    return compare((results_before, results), better, lines_before, lines)
