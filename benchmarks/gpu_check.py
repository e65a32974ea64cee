"""The harness on an NVIDIA GPU: what is planned, what the ledger counts, what CUDA's allocator gave, and speed.

LoRA, QLoRA and full fine-tuning of a shape of about 1B parameters, with random weights and without network, in bf16 and
fp16: `python -m benchmarks.gpu_check`, or `make gpu-check`, which first runs the tests that need a GPU. It writes a
file into `benchmarks/records/`, and ends with 1 where a plan is more than 5% off, with 2 where there is no GPU.
`--device cpu --model tiny_random` runs the same code on a CPU and a tiny shape; the allocator's figures are null there.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import random
import re
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import harness
from harness.config.compose import composed
from harness.config.run_settings import RunSettings
from harness.config.validate import settings_from
from harness.errors import RunEnded, UserError, first_line, run_command
from harness.files import write_atomically
from harness.host import gpus
from harness.host.environment import PACKAGES, cpu_name, installed
from harness.memory.ledger_pass import base_tensors, run_pass
from harness.memory.longest_batches import filled_batches
from harness.memory.planner import plan
from harness.models.quantization import quantize
from harness.places import ROOT
from harness.prepare.base_model import DTYPES, context_of
from harness.prepare.batch import Encoded, collate
from harness.prepare.forward import LabelForward
from harness.prepare.site import site_of
from harness.results.sections import PHASES
from harness.training.precision import enable_checkpointing, to_master_precision
from harness.training.trainer import WARM_UP, Trainer, TrainingData

RECORDS = ROOT / "benchmarks" / "records"
TOLERANCE = 0.05
"""Largest share by which a prediction may differ from what the allocator gave."""
TIMED = 10
"""Steps that are timed, after those of warm-up."""
TRAINING = ("load", "forward", "backward", "step")
"""Phases of a step: what is compared; scoring and generation are counted too."""

CASES = {
    "lora": ["method=lora"],
    "lora, checkpointing": ["method=lora", "train.gradient_checkpointing=true"],
    "qlora": ["+preset=qlora", "method.rank=64"],  # of the paper; smaller states are too small to be paged
    "full, 8-bit AdamW": ["method=full", "train.optimizer=adamw8bit"],
}
"""By name: its overrides."""


def case_settings(overrides: list[str], arguments: argparse.Namespace, dtype: str) -> RunSettings:
    """The settings of one case."""
    common = [f"model={arguments.model}", f"device={arguments.device}", f"dtype={dtype}", "tracker=none"]
    common += [f"train.steps={WARM_UP + TIMED}", f"train.batch_size={arguments.batch}", "train.checkpoint_every=1000"]
    common += ["train.validate_every=null", f"eval.batch_size={arguments.batch}", "eval.max_new_tokens=8"]
    return settings_from(composed([*common, *overrides]), planned=True)


def random_model(settings: RunSettings, device: str) -> tuple[Any, Any]:
    """A model of the settings' shape, with random weights stored as the settings say; and a tokenizer."""
    config, tokenizer = settings.model.parts()
    dtype = DTYPES[settings.precision]
    model: Any = settings.model.outline(config, dtype, settings.model.attention_for(device)).to(device)
    generator = torch.Generator(device).manual_seed(settings.seed)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.02, generator=generator)
        else:
            parameter.data.fill_(1)
    if settings.quantization.kind != "none":
        quantize(model, settings.quantization, dtype)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def texts(vocabulary: int, rows: int, length: int) -> Iterator[list[Encoded]]:
    """Batches of random tokens, all of one length, of which each but the first is trained on."""
    draw = random.Random(0)
    while True:
        yield [Encoded(tuple(draw.choices(range(vocabulary), k=length)), 1) for _ in range(rows)]


def check(settings: RunSettings, length: int, device: str) -> dict[str, Any]:
    """Plan, ledger and training of one case; bytes and seconds."""
    method, train, dtype = settings.method, settings.train, DTYPES[settings.precision]
    began = time.perf_counter()
    planned = plan(settings, length)
    found: dict[str, Any] = {"plan_seconds": time.perf_counter() - began}
    found["planned_by_phase"] = {phase: planned.by_phase[phase]["bytes"] for phase in TRAINING}
    found["planned_by_owner"] = {o: b for o, b in planned.by_owner.items() if b}
    found["planned"] = max(found["planned_by_phase"].values())
    free = gpus.free_bytes() if device == "cuda" else None
    if free is not None and found["planned"] > free:
        return found | {"skipped": f"predicted oom: {found['planned']:,} bytes of {free:,} that are free"}

    model, tokenizer = random_model(settings, device)
    batches = filled_batches(settings, "causal", length, context_of(model.config))
    site = site_of(settings, model, tokenizer, "causal", lambda: iter([batches.training[-1].to(device).inputs()]))
    torch.manual_seed(settings.seed)
    base = base_tensors(model)
    model = method.apply(model, site)
    to_master_precision(model)
    if train.gradient_checkpointing:
        enable_checkpointing(model)
    forward = LabelForward(model, dtype)
    assert batches.prompts is not None
    ids, mask = batches.prompts
    there = (ids.to(device), None if mask is None else mask.to(device))
    on_device = batches.each(lambda batch: batch.to(device), there)
    peaks = run_pass(settings, base, forward, on_device)
    del base, on_device
    found["ledger_by_phase"] = {phase: peaks[phase].bytes for phase in PHASES if phase in TRAINING}
    found["ledger"] = max(found["ledger_by_phase"].values())
    to_master_precision(model)  # weights of the base that are trained: the pass left them as a run answers with them
    return found | trained(settings, model, forward, length, device)


def trained(settings: RunSettings, model: Any, forward: LabelForward, length: int, device: str) -> dict[str, Any]:
    """What the allocator gave during the steps after warm-up, and their speed."""
    rows, vocabulary = settings.train.batch_size, model.config.vocab_size
    validation = [collate(next(texts(vocabulary, 1, 8)), 0).to(device)]
    peak: dict[str, int] = {}

    def before_step() -> RunEnded | None:
        if device == "cuda" and trainer.state.step == WARM_UP:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        return None

    def after_step(_: dict[str, float]) -> None:
        if device == "cuda":
            peak["allocated"] = torch.cuda.max_memory_allocated()
            peak["reserved"] = torch.cuda.max_memory_reserved()

    with TemporaryDirectory() as folder:
        stream, checkpoint = texts(vocabulary, rows, length), Path(folder, "checkpoint.pt")
        method, train = settings.method, settings.train
        trainer = Trainer(forward, method, train, TrainingData(stream, 0, validation), checkpoint, keep_best=False)
        curve = trainer.run(before_step, after_step).curve[WARM_UP:]
    # Paged states are the driver's, which moves them to the host and back; torch's allocator knows nothing of them.
    states = [each for state in trainer.optimizer.state.values() for each in state.values()]
    paged = sum(each.nbytes for each in states if getattr(each, "is_paged", False))
    return {
        "paged": paged,
        "max_memory_allocated": peak.get("allocated"),
        "max_memory_reserved": peak.get("reserved"),
        "step_seconds": statistics.median(line["seconds"] for line in curve),
        "step_seconds_by_step": [line["seconds"] for line in curve],
        "tokens_per_second": statistics.median(line["tokens"] / line["seconds"] for line in curve),
        "losses": [line["loss"] for line in curve],
    }


def deviation(case: dict[str, Any]) -> float | None:
    """Prediction over measurement, less one; None where there is none. Paged states count in neither."""
    measured = case.get("max_memory_allocated")
    return None if measured is None else (case["planned"] - case["paged"]) / measured - 1


def about(device: str) -> dict[str, Any]:
    """The machine and the versions."""
    found: dict[str, Any] = {"device": cpu_name(), "driver": None, "memory_total": None, "cuda": torch.version.cuda}
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        lines = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
        total = torch.cuda.get_device_properties(0).total_memory
        found |= {"device": torch.cuda.get_device_name(0), "driver": lines[0] if lines else None, "memory_total": total}
    found["versions"] = {"harness": harness.__version__, "python": platform.python_version()}
    found["versions"] |= {package: installed(package) for package in PACKAGES}
    found["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    return found


def line(name: str, case: dict[str, Any]) -> str:
    """A case for people."""
    for word in ("skipped", "failed"):
        if word in case:
            return f"{name}: {word}: {case[word]}"
    parts = [f"planned {case['planned'] / 2**20:,.1f} MiB", f"ledger {case['ledger'] / 2**20:,.1f}"]
    if case["max_memory_allocated"] is not None:
        parts += [f"allocated {case['max_memory_allocated'] / 2**20:,.1f}", f"{case['deviation']:+.1%}"]
        parts += [f"reserved {case['max_memory_reserved'] / 2**20:,.1f}"]
    parts += [f"paged {case['paged'] / 2**20:,.1f}"] if case["paged"] else []
    speed = f"{case['step_seconds'] * 1e3:.1f} ms a step, {case['tokens_per_second']:,.0f} tokens/s"
    return f"{name}: {', '.join(parts)}; {speed}"


def run_all(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Every case, one after the other, and the file. Raises UserError."""
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "needs an NVIDIA GPU and a CUDA build of torch; --device cpu --model tiny_random tries the code itself"
        )
    precisions = ("bf16", "fp16") if arguments.device == "cuda" else ("bf16",)
    wanted = [(f"{name} {dtype}", dtype, overrides) for name, overrides in CASES.items() for dtype in precisions]
    wanted = [each for each in wanted if not (each[1] == "fp16" and "checkpointing" in each[0])]
    content: dict[str, Any] = about(arguments.device) | {"model": arguments.model, "cases": {}}
    content |= {"batch": arguments.batch, "length": arguments.length, "tolerance": TOLERANCE}
    path = Path(arguments.output or RECORDS / f"gpu-{slug(content['device'])}.json")
    began = time.perf_counter()
    wrong = []
    for number, (name, dtype, overrides) in enumerate(wanted, 1):
        try:
            case = check(case_settings(overrides, arguments, dtype), arguments.length, arguments.device)
            case["deviation"] = deviation(case)
        except Exception as error:  # the other cases are worth having without it
            traceback.print_exc()
            case = {"failed": f"{type(error).__name__}: {first_line(error)}", "deviation": None}
            wrong.append(f"{name}: failed: {case['failed']}")
        content["cases"][name] = case
        if case["deviation"] is not None and abs(case["deviation"]) > TOLERANCE:
            off = f"{case['deviation']:+.1%}, more than {TOLERANCE:.0%}"
            wrong.append(f"{name}: the plan differs from max_memory_allocated by {off}")
        gc.collect()
        if arguments.device == "cuda":
            torch.cuda.empty_cache()
        passed = time.perf_counter() - began
        say(line(name, case))
        say(
            f"  {number} of {len(wanted)}, {passed:.0f} s; about {passed / number * (len(wanted) - number):.0f} s to go"
        )
        content["seconds"] = passed
        write_atomically(path, json.dumps(content, indent=1) + "\n")
    say(str(path))
    for each in wrong:
        say(f"error: {each}")
    return 1 if wrong else 0


def slug(name: str) -> str:
    """A device's name as part of a file's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def main() -> int:
    """Run the command line; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--model", default="llama3_2_1b", help="a causal model of conf/model; its weights are random")
    parser.add_argument("--batch", type=int, default=4, help="texts in a step")
    parser.add_argument("--length", type=int, default=512, help="tokens of a text")
    parser.add_argument("--output", help="the file; else benchmarks/records/gpu-<device>.json")
    return run_all(parser.parse_args(), lambda text: print(text, flush=True))


if __name__ == "__main__":
    sys.exit(run_command(main))
