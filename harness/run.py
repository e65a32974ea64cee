"""The one orchestrator: data, model, method, train, evaluate, forgetting, measure, record. Reads top to bottom."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from harness.base import BaseFolders, measure_forgetting, measure_lm_eval
from harness.checks import SelfCheck, faults
from harness.config import RunSettings
from harness.environment import resolve_device
from harness.errors import UserError
from harness.evaluate import Scores, cut_answers, read_lines, share_ended, write_lines
from harness.fit import Forecast
from harness.forward import LabelForward
from harness.inference import Latency
from harness.measure import parameters
from harness.measure.energy import EnergyMeter
from harness.measure.machine import MachineWatch, processor
from harness.measure.memory import Meter, Peak
from harness.measure.throughput import throughput, timing_reasons
from harness.memory_pass import base_tensors
from harness.memory_record import counted, memory, start_view
from harness.methods import Kind, Method, answer
from harness.models import save_pretrained
from harness.results import MODEL, Record, run_folder
from harness.robustness import readings, reread, sections
from harness.sections import Parameters
from harness.task import DTYPES, Base, Task
from harness.tracking import Tracking
from harness.train import (
    WARM_UP,
    RunEnded,
    Trainer,
    enable_checkpointing,
    to_deployed_precision,
    to_master_precision,
)

VAL_LOSS: dict[Kind, str] = {
    "causal": "mean nats per completion token, first reference",
    "seq2seq": "mean nats per completion token, first reference",
    "classification": "mean nats per text",
}
"""What the validation loss is."""


@dataclass
class Watch:
    """Where a run stands: told to the live view, asked whether it must end."""

    report: Callable[[dict[str, Any]], None]
    stopped: Callable[[], bool]
    time_limit: float | None
    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    step: int | None = None
    warnings: list[str] = field(default_factory=list)
    """What the record says of the run's surroundings."""
    measured: dict[str, Any] = field(default_factory=dict)
    """Fields of the record that are known already, should the run end badly."""

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
        "processor": processor() if resolve_device(settings.device) == "cpu" else None,
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
    view = start_view(device, model)
    with watch.phase("prepare"):
        folders = BaseFolders.of(settings)
        before = json.loads((folders.quality / "scores.json").read_text())
        latency = Latency(settings, tokenizer, meter, watch.ended)
        latency.take_base(folders.inference)
        task, others = Task(settings, base), readings(settings, base)
        base_parameters = parameters.total(model)
        site = task.site()
        cautions = cut_answers(settings.data, task.test) + method.warnings(model, site)
        untouched = base_tensors(model)
        check = SelfCheck(settings, model, site)
        model = method.apply(model, site)
        to_master_precision(model)
        if not any(p.requires_grad for p in model.parameters()) and method.trains:
            raise UserError(f"method={method.name}: finds nothing to train in this model; choose other targets")
        if settings.train.gradient_checkpointing and method.trains:
            enable_checkpointing(model)
        trainable = parameters.trainable(model)
        added = parameters.total(model) - base_parameters
        forward = LabelForward(model, DTYPES[settings.precision])

    train_peak, state, forgotten, machine, speed = None, None, None, None, None
    energy, no_energy = None, "nothing is trained"
    otherwise: dict[str, dict[str, Any]] = {}
    quality: dict[str, float | None] = {}
    if method.trains:
        assert method.lr is not None
        check.start(model)
        surroundings = MachineWatch(device, DTYPES[settings.precision])
        meter.start()
        energy_meter = EnergyMeter(device == "cuda", shared=bool(watch.warnings))
        with watch.phase("train"):
            trainer = Trainer(
                model,
                forward,
                method,
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
                energy_meter.note()

            state = trainer.run(watch.ended, report)
        energy, no_energy = energy_meter.used(), energy_meter.reason
        train_peak = meter.peak()
        machine = surroundings.ended()
        speed = throughput(state.curve, WARM_UP, max(machine.gemm_flops_before, machine.gemm_flops_after))
        watch.measured |= {"throughput": speed, "machine": machine, "energy": energy, "train_tokens": state.tokens}
        write_lines(folder / "curve.jsonl", state.curve)
        best = settings.eval.score == "best"
        quality["val_loss"] = state.best_loss if best else state.curve[-1]["val_loss"]
        del trainer
        check.trained(model, state)
    with watch.phase("ledger"):
        held = counted(settings, task, untouched, model, forward, folder, view)
        del untouched, view
    if method.trains and method.trains_base:
        to_deployed_precision(model, DTYPES[settings.precision])
        forward = LabelForward(model, DTYPES[settings.precision])
    with watch.phase("save"):
        adapter_bytes = method.save(model, folder / "adapter")
        if method.trains:
            check.saved(model, forward, task.validation[0])

    def predict(texts: Task) -> Any:
        return texts.predict(method.generate, model, forward, watch.progress)

    meter.start()
    if not method.untouched:
        with watch.phase("evaluate"):
            scores = task.score(predict(task))
        quality |= scores.quality
        if others:
            with watch.phase("readings"):
                otherwise = reread(others, task, scores, predict, folder)
        if task.kind == "causal":
            with watch.phase("forgetting"):
                forgotten, panel = measure_forgetting(settings, folders, model, tokenizer, forward, watch)
                write_lines(folder / "panel.jsonl", panel)
    else:
        lines = read_lines(folders.quality / "predictions.jsonl")
        scores = Scores(before["quality"], before["signatures"], lines, before["reasons"], before["better"])
        quality = scores.quality
        otherwise = before["readings"]
        for name in others:
            write_lines(folder / f"{name}.jsonl", read_lines(folders.quality / f"{name}.jsonl"))
    evaluate_peak = None if method.untouched else meter.peak()
    write_lines(folder / "predictions.jsonl", scores.lines)
    tasks = None
    if folders.lm_eval and task.kind == "causal":
        with watch.phase("lm-eval"):
            tasks = measure_lm_eval(settings, folders.lm_eval, folder, model, tokenizer)
    with watch.phase("inference"):
        latency.measure("unmerged", method.generate, lambda: model)
    merges = method.facts.merges
    if settings.keep_model:
        with watch.phase("save"):
            model, merges = method.merge(model) if merges else model, False
            save_pretrained(model, tokenizer, folder / MODEL)
    # On a CPU this process shares the base's weights with the worker until merging writes into them.
    copies = sum(p.nbytes for p in model.parameters()) if merges and device == "cpu" else 0
    with watch.phase("inference"):
        latency.measure("merged", answer, lambda: method.merge(model) if merges else model, copies)
    if method.trains:
        with watch.phase("check"):
            check.reload(folder / "adapter")

    forecast, checks = Forecast.read(folder), check.section()
    reasons = null_reasons(device, method, train_peak) | timing_reasons(speed, machine, WARM_UP)
    reasons |= held.reasons | ({} if forecast.reason is None else {"planned": forecast.reason})
    reasons |= latency.explained() | check.reasons
    if energy is None:
        reasons["energy"] = no_energy
    reasons |= {f"quality.{name}": reason for name, reason in scores.reasons.items()}
    if not task.prompts or task.kind == "classification":
        reasons["ended"] = "no answers are written"
    if checks is None:
        reasons["checks"] = "nothing is trained"
    if task.kind != "causal":
        reasons["forgetting"] = "general text and the panel need a causal model"
        reasons["lm_eval"] = "its tasks need a causal model"
    elif not settings.lm_eval.tasks:
        reasons["lm_eval"] = "lm_eval.tasks names none"
    typed, paraphrased = sections(settings.eval, otherwise, before["readings"])
    if not typed:
        reasons["typos"] = "off; eval.typos=0.05 mistypes a letter in twenty"
    if not paraphrased:
        reasons["paraphrases"] = "off; eval.paraphrases names other templates"
    record = Record(
        **known,
        status="ok",
        step=state.step if state else 0,
        scored_step=(state.best_step if settings.eval.score == "best" else state.step) if state else 0,
        seconds=({} if forecast.seconds is None else {"plan": forecast.seconds})
        | watch.seconds
        | {"total": time.perf_counter() - watch.started},
        targets=sorted({re.sub(r"\d+(?=\.)", "*", name) for name in site.modules}),
        parameters=Parameters(
            trainable=trainable if method.trains else 0,
            added=added,
            total=base_parameters + added,
            adapter_bytes=adapter_bytes,
            full_copy_bytes=base_parameters * DTYPES[settings.precision].itemsize,
        ),
        memory=memory(train_peak, evaluate_peak, meter),
        planned=forecast.planned,
        ledger=held.ledger,
        device_memory=held.device,
        throughput=speed,
        machine=machine,
        energy=energy,
        inference=dict(latency.found) or None,
        quality=quality,
        base_quality=before["quality"],
        signatures=scores.signatures | {"val_loss": VAL_LOSS[task.kind]},
        better=scores.better | {"val_loss": "lower"},
        baselines=before["baselines"],
        test_examples=len(task.test),
        ended=share_ended(scores.lines),
        checks=checks,
        truncated=task.truncated,
        train_tokens=state.tokens if state else 0,
        forgetting=forgotten,
        lm_eval=tasks,
        typos=typed,
        paraphrases=paraphrased,
        null_reasons=reasons,
    )
    with watch.phase("track"):
        warnings = tracking.finish(record, scores.lines)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    found = faults(checks, method.facts) if checks else []
    return record.model_copy(update={"warnings": watch.warnings + cautions + found + warnings})


def null_reasons(device: str, method: Method, train: Peak | None) -> dict[str, str]:
    """Why fields are null."""
    reasons: dict[str, str] = {}
    if not method.trains:
        reasons |= dict.fromkeys(["learning_rate", "train_peak"], "nothing is trained")
    if method.untouched:
        reasons |= {"forgetting": "the base model is not trained"}
        return reasons | {"memory": "its scores are made once and shared by all rows"}
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
    return reasons
