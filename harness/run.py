"""The one orchestrator: data, model, method, train, evaluate, forgetting, measure, record. Reads top to bottom."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from harness import data, forgetting, targets
from harness.cache import build_once, cache_folder
from harness.config import RunSettings
from harness.data import Example
from harness.data.baselines import best_constant, join_slots
from harness.data.batching import Batch, Encoded, Encoder, collate, training_batches
from harness.environment import resolve_device
from harness.errors import UserError
from harness.evaluate import Scores, generate, read_lines, score, write_lines
from harness.forward import LabelForward
from harness.measure import parameters
from harness.measure.memory import Meter, Peak
from harness.measure.throughput import throughput
from harness.methods.zero_shot import ZeroShot
from harness.metrics.bleu import corpus_bleu
from harness.results import Forgetting, Memory, Parameters, Record, hash_of, run_folder
from harness.tracking import Tracking
from harness.train import WARM_UP, RunEnded, Trainer, to_master_precision

Base = tuple[Any, Any]
"""A model and its tokenizer."""

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass
class Watch:
    """Where a run stands: told to the live view, asked whether it must end."""

    report: Callable[[dict[str, Any]], None]
    stopped: Callable[[], bool]
    time_limit: float | None
    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    step: int | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase and show it."""
        self.report({"phase": name})
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def ended(self) -> RunEnded | None:
        """Why the run must end now, if it must."""
        if self.stopped():
            return RunEnded(
                "interrupted", "stopped by a signal; run again to go on from the last checkpoint", self.step
            )
        if self.time_limit is not None and time.perf_counter() - self.started > self.time_limit:
            return RunEnded("timeout", f"longer than train.time_limit={self.time_limit:g} s", self.step)
        return None

    def progress(self, done: int) -> None:
        """Told after each batch of generation."""
        self.report({"generated": done})
        if end := self.ended():
            raise end


def load_base(settings: RunSettings) -> Base:
    """The base model on the run's device, and its tokenizer."""
    dtype = DTYPES[settings.precision]
    device = resolve_device(settings.device)
    return settings.model.load(dtype, device, settings.quantization.config(dtype))


def pick(examples: Sequence[Example], count: int | None) -> list[Example]:
    """`count` examples, the same for every run and seed, in the order of the file; all for None."""
    if count is None or count >= len(examples):
        return list(examples)
    chosen = sorted(random.Random("examples").sample(range(len(examples)), count))
    return [examples[i] for i in chosen]


class Task:
    """The texts of a run: what is trained on, validated on and scored, ready for one tokenizer."""

    def __init__(self, settings: RunSettings, base: Base) -> None:
        model, tokenizer = base
        splits, _ = data.load(settings.data)
        device = model.get_input_embeddings().weight.device
        context = getattr(model.config, "max_position_embeddings", None) or 10**9
        self.encoder = Encoder(tokenizer, settings.data, settings.train.max_length, context)
        self.pad = int(tokenizer.pad_token_id)
        self.train = splits.train
        self.test = pick(splits.test, settings.eval.test_examples)
        chosen = pick(splits.validation, settings.train.validation_examples)
        if not self.test or not chosen:
            raise UserError("the test or the validation split is empty; check the data")
        self.prompts = [self.encoder.prompt(example, settings.eval.max_new_tokens) for example in self.test]
        size = settings.train.batch_size
        encoded = sorted((self.encoder.pair(e, e.references[0]) for e in chosen), key=lambda e: len(e.ids))
        self.validation: list[Batch] = [
            collate(encoded[i : i + size], self.pad).to(device) for i in range(0, len(encoded), size)
        ]

    def batches(self, size: int, seed: int) -> Iterator[list[Encoded]]:
        """Endless training batches."""
        return training_batches(self.train, self.encoder, size, seed)


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
    untouched = ZeroShot(name="zero_shot")
    forward = LabelForward(model, DTYPES[settings.precision])

    def quality(folder: Path) -> None:
        task = Task(settings, base)
        texts = generate(untouched, model, tokenizer, task.prompts, settings.eval, watch.progress)
        scores = score(task.test, texts, settings.data.mr_form)
        scored = {"val_loss": forward.mean_loss(task.validation)} | scores.quality
        baselines = trivial_baselines(settings, task)
        content = {"quality": scored, "signatures": scores.signatures, "baselines": baselines}
        (folder / "scores.json").write_text(json.dumps(content))
        write_lines(folder / "predictions.jsonl", scores.lines)

    def forgotten(folder: Path) -> None:
        batches = forgetting.windows(tokenizer, settings.forgetting, model.get_input_embeddings().weight.device)
        loss = forgetting.text_loss(forward, batches, keep=folder / "logits.safetensors", base=None)
        (folder / "text.json").write_text(json.dumps(vars(loss)))
        panel = forgetting.panel_scores(untouched, model, tokenizer, settings.eval, watch.progress)
        write_lines(folder / "panel.jsonl", panel)

    with watch.phase("base scores"):
        build_once(folders.quality, quality)
    with watch.phase("base forgetting"):
        build_once(folders.forgetting, forgotten)


def trivial_baselines(settings: RunSettings, task: Task) -> dict[str, float]:
    """BLEU of two answers that need no model."""
    references = [example.references for example in task.test]
    constant = best_constant(task.train, candidates=200, seed=0)
    texts = {"best_constant": [constant] * len(task.test)}
    if settings.data.mr_form:
        texts["join_slots"] = [join_slots(example.source) for example in task.test]
    return {name: corpus_bleu(lines, references).score for name, lines in texts.items()}


def base_record(settings: RunSettings, run: str) -> dict[str, Any]:
    """The fields of a record that are known before the run starts."""
    return {
        "id": run,
        "key": settings.key(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "model_description": settings.model.describe(),
        "method": settings.method.name,
        "label": settings.label(),
        "learning_rate": settings.method.lr,
    }


def execute(settings: RunSettings, run: str, base: Base, watch: Watch) -> Record:
    """Train and measure one run. Raises RunEnded, UserError, or what went wrong."""
    meter = Meter(resolve_device(settings.device))
    torch.manual_seed(settings.seed)
    known = base_record(settings, run)
    with Tracking(settings, run, known) as tracking:
        return _measured(settings, run, base, watch, meter, known, tracking)


def _measured(
    settings: RunSettings,
    run: str,
    base: Base,
    watch: Watch,
    meter: Meter,
    known: dict[str, Any],
    tracking: Tracking,
) -> Record:
    method, folder = settings.method, run_folder(Path(settings.results), run)
    model, tokenizer = base
    device = resolve_device(settings.device)
    with watch.phase("prepare"):
        folders = BaseFolders.of(settings)
        before = json.loads((folders.quality / "scores.json").read_text())
        task = Task(settings, base)
        base_parameters = parameters.total(model)
        roles = targets.resolve(model, settings.roles)
        model = method.apply(model, tokenizer, roles)
        to_master_precision(model)
        if not any(p.requires_grad for p in model.parameters()) and method.trains:
            raise UserError(f"method={method.name}: finds nothing to train in this model; choose other targets")
        trainable = parameters.trainable(model)
        added = parameters.total(model) - base_parameters
        forward = LabelForward(model, DTYPES[settings.precision])

    train_peak, state = None, None
    quality: dict[str, float | None] = {}
    if method.trains:
        assert method.lr is not None
        meter.start()
        with watch.phase("train"):
            trainer = Trainer(
                model,
                forward,
                method.lr,
                settings.train,
                task.batches(settings.train.batch_size, settings.seed),
                task.pad,
                task.validation,
                folder / "checkpoint.pt",
                keep_best=settings.eval.score == "best",
            )

            def report(line: dict[str, float]) -> None:
                watch.step = int(line["step"])
                watch.report({"steps": settings.train.steps} | line)
                tracking.log(line)

            state = trainer.run(watch.ended, report)
        train_peak = meter.peak()
        write_lines(folder / "curve.jsonl", state.curve)
        best = settings.eval.score == "best"
        quality["val_loss"] = state.best_loss if best else state.curve[-1]["val_loss"]
        del trainer
        # Scored as it would be deployed: weights that were trained whole go back to the run's dtype.
        if method.trains_base:
            model.to(DTYPES[settings.precision])
            forward = LabelForward(model, DTYPES[settings.precision])
    with watch.phase("save"):
        adapter_bytes = method.save(model, folder / "adapter")

    meter.start()
    if method.trains:
        with watch.phase("evaluate"):
            texts = generate(method, model, tokenizer, task.prompts, settings.eval, watch.progress)
            scores = score(task.test, texts, settings.data.mr_form)
        quality |= scores.quality
        with watch.phase("forgetting"):
            forgotten = measure_forgetting(settings, folders, model, tokenizer, forward, watch)
    else:
        scores = Scores(before["quality"], before["signatures"], read_lines(folders.quality / "predictions.jsonl"))
        quality = scores.quality
        forgotten = None
    evaluate_peak = meter.peak() if method.trains else None
    write_lines(folder / "predictions.jsonl", scores.lines)

    speed = throughput(state.curve, WARM_UP) if state else None
    reasons = null_reasons(device, method.trains, train_peak, speed is not None)
    record = Record(
        **known,
        status="ok",
        step=state.step if state else 0,
        scored_step=(state.best_step if settings.eval.score == "best" else state.step) if state else 0,
        seconds=watch.seconds | {"total": time.perf_counter() - watch.started},
        targets=sorted({name for names in roles.values() for name in names}),
        parameters=Parameters(
            trainable=trainable if method.trains else 0,
            added=added,
            total=base_parameters + added,
            adapter_bytes=adapter_bytes,
            full_copy_bytes=base_parameters * DTYPES[settings.precision].itemsize,
        ),
        memory=memory(train_peak, evaluate_peak, meter),
        throughput=speed,
        quality=quality,
        base_quality=before["quality"],
        signatures=scores.signatures | {"val_loss": "mean nats per completion token, first reference"},
        baselines=before["baselines"],
        test_examples=len(task.test),
        train_tokens=state.tokens if state else 0,
        forgetting=forgotten,
        null_reasons=reasons,
    )
    with watch.phase("track"):
        warnings = tracking.finish(record, scores.lines)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return record.model_copy(update={"warnings": warnings})


def measure_forgetting(
    settings: RunSettings, folders: BaseFolders, model: Any, tokenizer: Any, forward: LabelForward, watch: Watch
) -> Forgetting:
    """General text and the panel of small instructions, beside what the untouched base gave."""
    text_before = json.loads((folders.forgetting / "text.json").read_text())
    panel_before = forgetting.shares(read_lines(folders.forgetting / "panel.jsonl"))
    batches = forgetting.windows(tokenizer, settings.forgetting, model.get_input_embeddings().weight.device)
    logits = folders.forgetting / "logits.safetensors"
    after = forgetting.text_loss(forward, batches, keep=None, base=logits)
    lines = forgetting.panel_scores(settings.method, model, tokenizer, settings.eval, watch.progress)
    panel = forgetting.shares(lines)
    assert after.kl is not None
    return Forgetting(
        text=forgetting.describe(settings.forgetting),
        tokens=after.tokens,
        loss_before=text_before["loss"],
        loss_after=after.loss,
        kl=after.kl,
        panel_before=panel_before["all"],
        panel_after=panel["all"],
        panel_by_task={task: (panel_before[task], panel[task]) for task in sorted(panel) if task != "all"},
    )


def memory(train: Peak | None, evaluate: Peak | None, meter: Meter) -> Memory:
    """The record's memory section."""
    return Memory(
        train_rss_above_base=train.rss_above_base if train else None,
        evaluate_rss_above_base=evaluate.rss_above_base if evaluate else None,
        process_peak_rss=meter.process_peak,
        train_cuda_allocated=train.cuda_allocated if train else None,
        train_cuda_reserved=train.cuda_reserved if train else None,
        evaluate_cuda_allocated=evaluate.cuda_allocated if evaluate else None,
        evaluate_cuda_reserved=evaluate.cuda_reserved if evaluate else None,
    )


def null_reasons(device: str, trains: bool, train: Peak | None, timed: bool) -> dict[str, str]:
    """Why fields are null."""
    if not trains:
        untouched = "the base model is not trained"
        return dict.fromkeys(
            ["throughput", "learning_rate", "forgetting"],
            untouched,
        ) | {"memory": "its scores are made once and shared by all rows"}
    reasons: dict[str, str] = {}
    if device == "cpu":
        reasons |= dict.fromkeys(
            ["memory.train_cuda_allocated", "memory.evaluate_cuda_allocated"], "the run was on a CPU"
        )
    if device == "cuda":
        reasons |= dict.fromkeys(
            ["memory.train_rss_above_base", "memory.evaluate_rss_above_base"], "the run was on a GPU"
        )
    if device == "cpu" and train and train.rss_above_base is None:
        reasons["memory.train_rss_above_base"] = "this system does not let the peak be reset between phases"
    if not timed:
        reasons["throughput"] = f"fewer than 3 steps after {WARM_UP} of warm-up"
    return reasons
