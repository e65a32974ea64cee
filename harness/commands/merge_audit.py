"""What merging a finished run's adapter changes: `python -m harness merge-audit RUN`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from harness.commands._finished import FinishedRun, finished_run, markdown_table, prepare, tell
from harness.errors import Parser, UserError, first_line
from harness.host.memory import available
from harness.models.quantization import Quantization, dequantize, quantize, weight_bytes

if TYPE_CHECKING:
    import torch

    from harness.prepare.batch import Batch
    from harness.prepare.encoded_task import EncodedTask


DESCRIPTION = """\
Load a finished run's adapter, merge it into the base's weights in several precisions, and print for each: bytes of the
weights, distance of the logits to the unmerged model, scores on the run's own examples, and speed of decoding. All
variants are in memory at once, so that their speeds are measured in turn, side by side. Before that the merge is
checked in fp64, where hardly any rounding can hide a wrong one: then the rows say WRONG and the exit code is 2."""

EXAMPLE = """\
example:
  python -m harness merge-audit lora-0123456789ab"""

NF4 = Quantization(kind="nf4", double=False, block_size=64)
"""How a merged model is quantized again."""
PLAIN = Quantization(kind="none", double=False)
ROUNDS = 5
"""Timed decodings of each variant; the median is shown."""


@dataclass
class Variant:
    """One way to serve the adapted model, and what was measured of it."""

    name: str
    model: Any
    merged: bool
    bytes: int
    distance: float = 0.0
    """Mean over tokens and vocabulary of the absolute difference of a logit to the unmerged model's."""
    kl: float = 0.0
    """Mean over tokens of KL(unmerged || this) in nats."""
    val_loss: float = 0.0
    quality: dict[str, float | None] = field(default_factory=dict)
    speeds: list[float] = field(default_factory=list)
    """Tokens a second, a round each; empty for a model that writes no text."""


@dataclass(frozen=True)
class Check:
    """The adapter merged into the base's own values in fp64, on the first validation batch."""

    apart: float | None = None
    """Largest absolute difference of a logit to the unmerged model's; None: not measured."""
    rounding: float = 0.0
    """How far rounding may move it."""
    reason: str = ""
    """Why it was not measured."""

    @property
    def wrong(self) -> bool:
        """The merged model is another one. A distance that is no number is wrong, too."""
        return self.apart is not None and not self.apart <= self.rounding

    def __str__(self) -> str:
        if self.apart is None:
            return f"The merge itself is not checked: {self.reason}."
        moved = f"In fp64 merging moves a logit by {self.apart:.1e} at most; rounding could by {self.rounding:.1e}"
        return f"{moved}, so the merged model is WRONG: not the one that was trained." if self.wrong else f"{moved}."


def main(arguments: list[str]) -> None:
    """Print the table. Raises UserError, also where the merged model is not the unmerged one."""
    parser = Parser(
        prog="python -m harness merge-audit",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="folder or id of a finished run")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER", help="default: %(default)s")
    options = parser.parse_args(arguments)
    run = finished_run(options.run, options.results)
    if not run.settings.method.facts.merges:
        raise UserError(f"{options.run}: {run.record.label} cannot be merged; name a run of a method that can, as lora")
    checked = check(run)
    print(render(run, audit(run), checked))
    if checked.wrong:
        raise UserError(
            f"{options.run}: merging changes what the model answers; serve it unmerged (python -m harness generate)"
        )


def check(run: FinishedRun) -> Check:
    """Merge in fp64. Not measured where the method or the memory does not allow it. Raises UserError."""
    import torch

    from harness.prepare.base_model import LoadedModel, load_base
    from harness.prepare.encoded_task import EncodedTask

    prepare(run.settings)
    tell("the merge in fp64: logits")
    stored, method = run.settings.quantization, run.settings.method
    precise = run.settings.model_copy(update={"dtype": "fp32"})
    base, tokenizer = load_base(precise)
    if stored.kind != "none":
        base = dequantize(base, stored, torch.float32)
    needed = 8 * sum(p.numel() for p in base.parameters())
    if base.device.type == "cpu" and needed > (free := available()):
        return Check(reason=f"in fp64 the model takes {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free")
    batch = EncodedTask(precise, LoadedModel(base, tokenizer)).validation[0]
    try:
        model = run.adapted(base).double().eval()
        unmerged = logits_of(model, batch)
    except (RuntimeError, TypeError, NotImplementedError) as error:  # layers that compute in a dtype of their own
        return Check(reason=f"{run.record.label} does not compute in fp64 ({first_line(error)})")
    merged = logits_of(method.merge(model), batch)
    # What stays in fp32 whatever the weights' dtype (normalizations, softmax, some methods' change of the weight) is
    # rounded to 2^-24; a sum of n terms, the hidden size, may be off by n times as much (Higham 2002, section 3.1).
    rounding = 2**-24 * base.config.get_text_config().hidden_size * unmerged.abs().max().item()
    return Check((merged - unmerged).abs().max().item(), rounding)


def logits_of(model: Any, batch: Batch) -> torch.Tensor:
    """Logits [labels, vocabulary] in fp64."""
    import torch

    from harness.prepare.forward import LabelForward

    with torch.no_grad():
        return LabelForward(model, torch.float64).logits(batch).clone()


def audit(run: FinishedRun) -> list[Variant]:
    """Every variant of the run's model with its measurements; the first is the unmerged one. Raises UserError."""
    from harness.prepare.base_model import LoadedModel, load_base
    from harness.prepare.encoded_task import EncodedTask

    prepare(run.settings)
    unmerged, tokenizer = load_base(run.settings)
    variants = []
    for name, merged, build in ways(run, unmerged):
        tell(f"{name}: loading")
        model = build()
        variants.append(Variant(name, model.eval(), merged, weight_bytes(model)))
    task = EncodedTask(run.settings, LoadedModel(variants[0].model, tokenizer))
    expected: list[torch.Tensor] | None = None
    for variant in variants:
        tell(f"{variant.name}: logits and scores")
        logits = measure(variant, run, task, expected)
        expected = expected or logits
    if task.kind != "classification":
        tell(f"decoding {ROUNDS} times by each")
        time_side_by_side(variants, run, task)
    return variants


def ways(run: FinishedRun, unmerged: Any) -> list[tuple[str, bool, Callable[[], Any]]]:
    """For each variant: name, whether it is merged, and how to build it; the first takes the loaded base `unmerged`."""
    from harness.prepare.base_model import DTYPES, load_base

    settings, method = run.settings, run.settings.method
    stored, precision = settings.quantization, settings.precision
    dtype = DTYPES[precision]

    def base(quantization: Quantization, precision: str) -> Any:
        return load_base(settings.model_copy(update={"quantization": quantization, "dtype": precision}))[0]

    def merged(model: Any) -> Any:
        return method.merge(run.adapted(model))

    def in_own_values() -> Any:
        model = base(stored, precision)
        return merged(model if stored.kind == "none" else dequantize(model, stored, dtype))

    own = f"merged in {precision}" if stored.kind == "none" else f"merged into dequantized weights ({precision})"
    results: list[tuple[str, bool, Callable[[], Any]]] = [
        ("unmerged", False, lambda: run.adapted(unmerged)),
        (own, True, in_own_values),
    ]
    if stored.kind != "none" or precision != "bf16":
        name = "merged in bf16" if stored.kind == "none" else "merged into the weights before quantization (bf16)"
        results.append((name, True, lambda: merged(base(PLAIN, "bf16"))))
    return [*results, ("merged, re-quantized to nf4", True, lambda: quantize(in_own_values(), NF4, dtype))]


def measure(
    variant: Variant, run: FinishedRun, task: EncodedTask, expected: Sequence[torch.Tensor] | None
) -> list[torch.Tensor]:
    """Fill in distances and scores; the variant's logits [labels, vocabulary] of each validation batch. `expected`:
    those of the unmerged model."""
    import torch
    from torch.nn.functional import kl_div, log_softmax

    from harness.evaluation.predict import predict, score_task
    from harness.prepare.base_model import DTYPES
    from harness.prepare.forward import LabelForward

    forward = LabelForward(variant.model, DTYPES[run.settings.precision])
    with torch.no_grad():
        logits = [forward.logits(batch).float() for batch in task.validation]
    if expected is not None:
        pairs = list(zip(logits, expected, strict=True))
        variant.distance = sum((a - b).abs().mean(1).sum().item() for a, b in pairs) / sum(map(len, logits))
        each = [
            kl_div(log_softmax(a, -1), log_softmax(b, -1), reduction="sum", log_target=True).item() for a, b in pairs
        ]
        variant.kl = sum(each) / sum(map(len, logits))
    variant.val_loss = forward.mean_loss(task.validation)
    texts = predict(task, answer_of(variant, run), variant.model, forward, lambda done: None)
    variant.quality = score_task(task, texts).quality
    return logits


def answer_of(variant: Variant, run: FinishedRun) -> Callable[..., Any]:
    """How the variant generates."""
    from harness.methods import answer

    return answer if variant.merged else run.settings.method.generate


def time_side_by_side(variants: Sequence[Variant], run: FinishedRun, task: EncodedTask) -> None:
    """Fill in the speeds: one text of full length at a time, each variant once a round, the first round not counted."""
    import torch
    from transformers import GenerationConfig

    from harness.prepare.batch import collate_prompts

    count = run.settings.eval.max_new_tokens
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, max_new_tokens=count, min_new_tokens=count
    )
    ids, mask = (tensor.to(task.device) for tensor in collate_prompts([task.first_prompt()], task.pad))
    for number in range(ROUNDS + 1):
        for variant in variants:
            began = time.perf_counter()
            with torch.no_grad():
                new = answer_of(variant, run)(variant.model, ids, mask, config)
            if task.device.type == "cuda":
                torch.cuda.synchronize()
            if number:
                variant.speeds.append(new.shape[1] / (time.perf_counter() - began))


def render(run: FinishedRun, variants: Sequence[Variant], checked: Check) -> str:
    """A heading, the table, and what came of the check."""
    scores = [name for name in ("bleu", "rougeL", "accuracy") if name in variants[0].quality]
    titles = {"bleu": "BLEU", "rougeL": "ROUGE-L"}
    rows = [
        {
            "variant": f"{v.name}: WRONG" if v.merged and checked.wrong else v.name,
            "weights [MB]": f"{v.bytes / 1e6:,.1f}",
            "mean change of a logit": f"{v.distance:.4f}",
            "KL from unmerged [nats/token]": f"{max(v.kl, 0.0):.5f}",  # below 0 by rounding alone
            "validation loss [nats/token]": f"{v.val_loss:.4f}",
            **{titles.get(name, name): known(v.quality[name]) for name in scores},
            "decoding [tokens/s]": f"{median(v.speeds):.1f}" if v.speeds else "\N{EM DASH}",
            "speed, unmerged = 1": f"{ratio(v, variants[0]):.2f}" if v.speeds else "\N{EM DASH}",
        }
        for v in variants
    ]
    examples = f"{run.record.test_examples} test examples of {run.settings.data.name}, dtype {run.settings.precision}"
    title = f"## {run.record.label} on {run.record.model_description}"
    return f"{title}\n\nRun {run.record.id}; {examples}.\n\n{markdown_table(rows)}\n\n{checked}"


def known(score: float | None) -> str:
    """A score as tables have it; a dash where it does not apply to the run's data."""
    return "\N{EM DASH}" if score is None else f"{score:.2f}"


def ratio(variant: Variant, unmerged: Variant) -> float:
    """How many times faster than the unmerged model, as the mean over rounds."""
    return fmean(a / b for a, b in zip(variant.speeds, unmerged.speeds, strict=True))
