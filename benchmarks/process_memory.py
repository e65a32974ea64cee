"""Where a process's memory is: peak resident set of training and of the ledger's pass, in parts, method by method.

Each row is a process of its own, as a run's is: the base is loaded, the method applied, some steps are trained, then
the pass is looked at. `python -m benchmarks.process_memory [--steps 10] [--output FILE] [OVERRIDES]`; the overrides go
to every row (`threads=1`). CPU only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from pathlib import Path
from typing import Any

from harness.config.compose import compose_settings
from harness.errors import run_command
from harness.results.sections import EVALUATION, TRAINING

ROWS = {
    "full": ["method=full"],
    "full, checkpointing": ["method=full", "train.gradient_checkpointing=true"],
    "lora r=8": ["method=lora"],
    "lora r=8, checkpointing": ["method=lora", "train.gradient_checkpointing=true"],
    "qlora r=8 (nf4_dq)": ["method=lora", "quantization=nf4_dq"],
    "prefix tuning": ["method=prefix_tuning"],
    "prompt tuning": ["method=prompt_tuning"],
    "ia3": ["method=ia3"],
}
PARTS = ("tensors", "allocator", "workspace", "objects", "interpreter", "libraries", "weight_files")


def measured(overrides: list[str]) -> dict[str, Any]:
    """The record's section of one row, and the peak of its training itself in bytes."""
    import torch

    from harness.host.environment import usable_cores
    from harness.measure.device_memory import device_view
    from harness.measure.peak_memory import RESET_PEAK, give_back, resident
    from harness.memory.ledger_pass import base_tensors, run_pass
    from harness.memory.longest_batches import run_batches
    from harness.prepare.base_model import DTYPES, load_base
    from harness.prepare.encoded_task import EncodedTask
    from harness.prepare.forward import LabelForward
    from harness.training.precision import enable_checkpointing, to_master_precision
    from harness.training.trainer import Trainer, TrainingData

    settings = compose_settings(["device=cpu", "tracker=none", *overrides])
    torch.set_num_threads(settings.threads or usable_cores())
    torch.manual_seed(settings.seed)
    model, tokenizer = load_base(settings)
    base = base_tensors(model)
    give_back()
    view = device_view("cpu", [each for _, each in base])
    task = EncodedTask(settings, (model, tokenizer))
    model = settings.method.apply(model, task.site())
    to_master_precision(model)
    if settings.train.gradient_checkpointing:
        enable_checkpointing(model)
    forward = LabelForward(model, DTYPES[settings.precision])
    batches = task.batches(settings.train.batch_size, settings.seed)
    give_back()
    Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    trainer = Trainer(
        forward, settings.method, settings.train, TrainingData(batches, task.pad, task.validation), Path("none"), False
    )
    trainer.run(lambda: None, lambda line: print(f"\r{line['step']:.0f}", end="", file=sys.stderr, flush=True))
    trained = resident("VmHWM")
    del trainer
    worked_on = run_batches(task, forward.dtype)
    peaks = run_pass(settings, base, forward, worked_on, view=view)
    return view.result(peaks).model_dump() | {"trained": trained}


def rows_of(label: str, found: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The cells of training and of scoring: the highest phase of each."""
    by_phase = found["by_phase"]
    cells = []
    for phases in (TRAINING, EVALUATION):
        phase = max(phases, key=lambda name: by_phase[name]["bytes"])
        peak = by_phase[phase]
        values = [peak["bytes"], *(peak["parts"][part] for part in PARTS), peak["residual_bytes"]]
        shown = [f"{value / 2**20:,.0f}" for value in values]
        cells.append([label, phase, *shown, f"{100 * peak['residual_bytes'] / peak['bytes']:.1f}%"])
    return [*cells[0], f"{found['trained'] / 2**20:,.0f}"], cells[1]


def table(lines: list[list[str]], *more: str) -> str:
    """Markdown."""
    head = ["method", "phase", "peak", *PARTS, "residual", "share", *more]
    return "\n".join("| " + " | ".join(each) + " |" for each in [head, ["---"] * len(head), *lines])


def main() -> None:
    """Measure each row and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=10, help="steps that are trained before the pass")
    parser.add_argument("--output", type=Path, help="file that the tables are written to")
    parser.add_argument("overrides", nargs="*", help="of every row, such as threads=1")
    asked = parser.parse_args()
    rows = {label: [*own, f"train.steps={asked.steps}", *asked.overrides] for label, own in ROWS.items()}
    for overrides in rows.values():
        compose_settings(overrides)
    training, scoring = [], []
    for label, overrides in rows.items():
        print(f"\r{label}", file=sys.stderr, flush=True)
        with multiprocessing.get_context("spawn").Pool(1) as one:
            found = one.apply(measured, (overrides,))
        for lines, cells in zip((training, scoring), rows_of(label, found), strict=True):
            lines.append(cells)
        print(training[-1], scoring[-1], file=sys.stderr, flush=True)
    text = f"Training [MiB]\n\n{table(training, 'trained')}\n\nScoring [MiB]\n\n{table(scoring)}\n"
    print(text)
    if asked.output:
        asked.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_command(main))
