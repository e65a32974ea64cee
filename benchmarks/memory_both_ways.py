"""One run's memory told in three ways: after steps, at training's peak, and at the peak with generation.

Tools that log memory once a step, behind the optimizer, see what stays; those that ask for the highest figure at the
end see generation too. All three are counted here by the same ledger on the same model and real training steps: LoRA
and full fine-tuning of the embedded model, batches of 4, answers to 50 prompts at once of up to 300 new tokens, as
`method_comparison` of Hugging Face PEFT has it. Prints the table of docs/memory.md.
"""

from __future__ import annotations

import statistics
from itertools import islice

import torch
from tabulate import tabulate

from harness.config.compose import compose_settings
from harness.config.run_settings import RunSettings
from harness.host.environment import usable_cores
from harness.measure.ledger import BLOCK, Ledger
from harness.memory.ledger_pass import base_tensors, run_pass
from harness.memory.longest_batches import run_batches
from harness.prepare.base_model import DTYPES, load_base
from harness.prepare.batch import collate
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.forward import LabelForward
from harness.training.optimizer import make_optimizer, trainable
from harness.training.precision import enable_checkpointing, to_master_precision

STEPS = 8
COMMON = ["device=cpu", "tracker=none", "train.batch_size=4", "eval.batch_size=50", "eval.test_examples=50"]
ROWS = (
    ["method=lora"],
    ["method=lora", "train.gradient_checkpointing=true"],
    ["method=full"],
    ["method=full", "train.gradient_checkpointing=true"],
)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(usable_cores())
    lines = []
    for row in ROWS:
        settings = compose_settings([*COMMON, "eval.max_new_tokens=300", *row])
        after, training, whole = measured(settings)
        name = settings.label() + (", checkpointing" if settings.train.gradient_checkpointing else "")
        lines.append([name, *(f"{size / 2**20:,.0f}" for size in (after, training, whole)), f"{training / after:.1f}"])
        print(name, flush=True)
    heads = ["row", "mean after steps [MiB]", "peak of training [MiB]", "peak with generation [MiB]", "peak / mean"]
    print(tabulate(lines, headers=heads, tablefmt="pipe", disable_numparse=True))


def measured(settings: RunSettings) -> tuple[float, int, int]:
    """Bytes: mean after steps, training's peak, and the highest of training, scoring and generation."""
    model, tokenizer = load_base(settings)
    task = EncodedTask(settings, (model, tokenizer))
    base = base_tensors(model)
    torch.manual_seed(settings.seed)
    model = settings.method.apply(model, task.site())
    to_master_precision(model)
    if settings.train.gradient_checkpointing:
        enable_checkpointing(model)
    forward = LabelForward(model, DTYPES[settings.precision])
    after = after_steps(settings, task, model, forward)
    batches = run_batches(task, forward.dtype)
    peaks = run_pass(settings, base, forward, batches)
    training = max(peaks[phase].bytes for phase in ("forward", "backward", "step"))
    return after, training, max(peak.bytes for peak in peaks.values())


def after_steps(settings: RunSettings, task: EncodedTask, model: torch.nn.Module, forward: LabelForward) -> float:
    """The mean of what is held behind the optimizer's step, gradients still there, over real steps."""
    optimizer = make_optimizer("adamw", settings.method.parameter_groups(model), settings.train.weight_decay)
    held = []
    model.train()
    with Ledger("cpu", BLOCK["cpu"], model) as ledger:
        ledger.claim("base_weights", base_tensors(model))
        for examples in islice(task.batches(settings.train.batch_size, settings.seed), STEPS):
            batch = collate(examples, task.pad)
            optimizer.zero_grad()
            (forward.loss_sum(batch) / len(batch.targets)).backward()
            torch.nn.utils.clip_grad_norm_(trainable(model).values(), 1.0)
            optimizer.step()
            held.append(ledger.held())
    optimizer.zero_grad()
    return statistics.mean(held)


if __name__ == "__main__":
    main()
