"""The sections of a record: what is known of a run, by subject. Imports neither torch nor Hydra.

Bytes and seconds; what was not measured is null, and the record's `null_reasons` says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

Better = Literal["higher", "lower", "neither"]
"""Which values of a score are better. `neither`: it describes, as the length of the answers does."""

Owner = Literal[
    "base_weights",
    "quantization_constants",
    "adapter",
    "gradients",
    "optimizer_state",
    "activations",
    "temporaries",
    "kv_cache",
]
Phase = Literal["load", "forward", "backward", "step", "evaluate", "generate"]
OWNERS: tuple[Owner, ...] = get_args(Owner)
PHASES: tuple[Phase, ...] = get_args(Phase)
TRAINING, EVALUATION = PHASES[1:4], PHASES[4:]
"""Phases of either part of a run."""
STEP_PARTS = ("data", *TRAINING, "logging")
"""Parts of a step of training that are timed separately."""
DEVICE_PARTS = ("tensors", "interpreter", "libraries", "weight_files", "objects", "allocator", "workspace", "context")
"""What a device's own peak consists of; a CPU has no context, a GPU no libraries."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Parameters(Section):
    """Counts of parameters, and bytes on disk."""

    trainable: int
    """Parameters that training may change."""
    added: int
    """Parameters that the method adds to the base model."""
    total: int
    """Parameters of the base and the method together."""
    adapter_bytes: int
    """Bytes on disk of what has to be kept for this task."""
    full_copy_bytes: int
    """Bytes on disk of the whole base model, for comparison."""


class Memory(Section):
    """Peaks in bytes. Training's peak never contains evaluation's."""

    train_rss_growth: int | None = None
    """Peak resident set of the run's process during training, above what was resident when the run began (CPU runs). A
    base whose weights are a mapped file becomes resident meanwhile, and so is part of it."""
    evaluate_rss_growth: int | None = None
    """The same during generation and scoring."""
    process_peak_rss: int | None = None
    """Highest resident set of the run's process in any phase, shared pages of the base included; of a run that was
    killed or out of memory: in its last phase."""
    train_cuda_allocated: int | None = None
    """Peak of CUDA memory held by tensors during training, base included."""
    train_cuda_reserved: int | None = None
    """Peak of CUDA memory held by the allocator during training."""
    evaluate_cuda_allocated: int | None = None
    evaluate_cuda_reserved: int | None = None
    oom_cuda_allocated: int | None = None
    """Of a run that ran out of memory: peak of CUDA memory held by tensors in its last phase."""


class PhasePeak(Section):
    """The moment of a phase at which tensors hold most, as the memory ledger counts them."""

    bytes: int
    by_owner: dict[str, int]
    """Bytes by owner, of `OWNERS`."""


Phases = dict[str, PhasePeak]
"""By phase, of `PHASES` those that a run has."""


def part(phases: Phases | None, names: Sequence[str]) -> Phases:
    """Of these phases those that a run has."""
    return {name: peak for name, peak in (phases or {}).items() if name in names}


def highest(phases: Phases) -> tuple[str, PhasePeak]:
    """The phase with the highest peak, and that peak."""
    return max(phases.items(), key=lambda item: item[1].bytes)


class Checks(Section):
    """What a run found of itself; what is not as it should be is a warning of the record too."""

    tensors: int
    """Tensors that are trained."""
    without_gradient: list[str] | None = None
    """Those of them that had no gradient but zeros in the first three steps."""
    unchanged: list[str] = []
    """Those that training left as they were."""
    supervised_share: float
    """Share of the tokens trained on that counted in the loss, 0 to 1."""
    modules: dict[str, tuple[int, int]] = {}
    """By ending of the requested modules' names: how many there are, and in how many of them a tensor is trained."""
    saved_otherwise: list[str] | None = None
    """Trained tensors that, loaded again onto a new base, differ from those that were scored."""
    reload_difference: float | None = None
    """Largest absolute difference of a logit between the scored model and the one loaded again, on one validation
    batch."""
    reloads: bool | None = None
    """That difference is no more than rounding."""
    load_error: str | None = None
    """Why the saved adapter cannot be loaded."""


class BitsPerByte(Section):
    """The validation loss by byte of text, which compares models with different tokenizers: the nats of all answer
    tokens, those that end an answer included, over ln 2 times the bytes of the answers."""

    validation: float
    """Bits a byte, of the weights that were scored."""
    base_validation: float
    """The same of the untouched base."""
    validation_bytes: int
    """Of the answers in UTF-8."""


class Throughput(Section):
    """Training speed after warm-up steps; padding is not counted."""

    tokens_per_second: float
    """Median over timed steps of prompt and completion tokens per second."""
    samples_per_second: float
    """Median over timed steps of examples per second."""
    tokens_per_second_iqr: float
    """Distance between the quartiles of tokens per second over the timed steps."""
    timed_steps: int
    step_seconds_p50: float | None = None
    """Median time of a timed step, excluding data loading; this and what follows is null in earlier versions."""
    step_seconds_p95: float | None = None
    """95th percentile of the same."""
    shares: dict[str, float] | None = None
    """Of the time of timed steps, by part: `data` (encoding, padding, moving to the device), `forward`, `backward`,
    `step` (clipping, optimizer, schedule), `logging`. They sum to 1; validation and checkpoints are in none."""
    flops_per_token: float | None = None
    """Floating-point operations of forward and backward passes, padding's too, per token of text, of the warm-up."""
    flops_per_second: float | None = None
    """`flops_per_token` at `tokens_per_second`."""
    gemm_flops_per_second: float | None = None
    """The most that square products in the run's dtype reached, before or after training."""
    utilization: float | None = None
    """`flops_per_second` as a share of `gemm_flops_per_second`."""


class Forgetting(Section):
    """What happened to text and tasks that training did not touch. Before = the untouched base, equally quantized."""

    text: str
    """Name of the general text and how it was cut."""
    tokens: int
    """Scored tokens of general text."""
    loss_before: float
    """Mean negative log-likelihood per token of the general text under the base, in nats."""
    loss_after: float
    compared_tokens: int | None = None
    """The first tokens of general text, over which `kl` and `agreement` are taken; null: all (earlier versions)."""
    kl: float
    """Mean over tokens of KL(base || tuned), in nats."""
    kl_std: float | None = None
    """Standard deviation of the tokens' divergences, in nats; this and `kl_quantiles` are null in earlier versions."""
    kl_quantiles: dict[str, float] | None = None
    """By percentage, such as `95%`: quantile of the tokens' divergences, in nats."""
    agreement: float | None = None
    """Share of tokens whose most likely next token is the same for base and tuned model, 0 to 1; null as `kl_std`."""
    panel: str = "embedded"
    """`embedded`, or the name of the panel's file."""
    panel_items: int | None = None
    """Instructions of the panel; this, what was lost and gained are null in earlier versions."""
    panel_before: float
    """Share of the small instructions that the base answers right, 0 to 1."""
    panel_after: float
    panel_lost: int | None = None
    """Instructions that the base answers right and the tuned model does not."""
    panel_gained: int | None = None
    """Instructions that the tuned model answers right and the base does not."""
    panel_by_task: dict[str, tuple[float, float]]
    """Per task of the panel: before, after."""
    panel_changes: dict[str, tuple[int, int]] | None = None
    """Per task of the panel: instructions lost, gained."""

    @property
    def perplexity_before(self) -> float:
        """Exponential of the loss on general text under the base; infinite where it is no longer a number."""
        return perplexity(self.loss_before)

    @property
    def perplexity_after(self) -> float:
        """The same after training."""
        return perplexity(self.loss_after)


class _Reading(Section):
    """The test examples read otherwise."""

    quality: dict[str, float | None]
    """The scores of the record's `quality`, validation loss aside."""
    base_quality: dict[str, float | None]
    """The same of the untouched base."""
    agreement: float
    """Share of test examples whose prediction stays the same, 0 to 1."""


class Typos(_Reading):
    """Scores with typing errors in the test inputs."""

    share: float
    """Of the letters that are mistyped, 0 to 1."""
    seed: int
    """Of the errors."""


class Paraphrase(_Reading):
    """Scores in another template of the prompt."""

    prompt: str
    """The Jinja template."""


def perplexity(loss: float) -> float:
    """Of a mean negative log-likelihood per token in nats."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


class Inference(Section):
    """How fast a model answers a batch of prompts, greedily, without ending early: medians over repetitions."""

    batch_size: int
    prompt_tokens: int
    """Of each prompt; what a method puts before it comes on top."""
    new_tokens: int
    """Written for each prompt; 0 for a classifier, which reads alone."""
    repeats: int
    """Answers that were timed."""
    prefill_seconds: float
    """From the call until the first new token's scores are there."""
    prefill_iqr: float | None = None
    """Distance between the quartiles of it; this and the other one are null of fewer than three values."""
    decode_seconds_per_token: float | None = None
    """Of each further step, which writes one token for each prompt; over all steps of all repetitions."""
    decode_iqr: float | None = None
    tokens_per_second: float | None = None
    """New tokens of the whole batch a second, prefill included."""
    rss_growth: int | None = None
    """Peak resident set in bytes, above what was resident before the calls (CPU runs)."""
    cuda_allocated: int | None = None
    """Peak of CUDA memory held by tensors in bytes, the model included."""


class Machine(Section):
    """What else went on on the machine while a run trained, and whether it was as fast afterwards as before."""

    cores: int
    """Cores that the run may use; `steal` and `others` are shares of their time, 0 to 1."""
    seconds: float
    """How long training was watched; of a continued run, the last stretch."""
    steal: float | None = None
    """Taken by other guests of the same host."""
    others: float | None = None
    """Spent on other processes, the system's own work included."""
    load: float | None = None
    """Tasks that ran or waited to, an average over the last minute of training, by any process on any core."""
    gemm_flops_before: float
    """Most floating-point operations per second of square products in the run's dtype, just before training."""
    gemm_flops_after: float
    """The same just after."""
    drift: float
    """`gemm_flops_after` by `gemm_flops_before`, less 1: clocks that fell, or company that came."""
    noisy: list[str]
    """Why times of this run are not to be trusted, a line each; empty for a quiet machine."""


class Energy(Section):
    """Energy of the training phase, validation and checkpoints included, by the machine's own counters; of a continued
    run, of its last stretch."""

    joules: float
    source: str
    """`NVML` (the run's GPU), `RAPL` (all processors of the machine and their memory), or both, added."""
    estimate: bool
    """What other processes used is in it, as always with RAPL."""


class DevicePeak(Section):
    """The device's own figure at the peak of a phase, and what it consists of."""

    bytes: int
    """Resident set of the process (CPU), or memory in use on the device as its driver says it (GPU)."""
    parts: dict[str, int]
    """By name, in bytes, each measured by itself; docs/memory.md says what each one is."""
    residual_bytes: int
    """What the parts do not explain; below zero where they say more than there is."""
    cuda_allocated: int | None = None
    """Peak of what torch's allocator has given out (GPU runs)."""
    cuda_reserved: int | None = None
    """Peak of what it holds; `allocator` among the parts is the difference: its fragmentation."""


class DeviceMemory(Section):
    """The device's view of the ledger's pass, beside the ledger."""

    peak_bytes: int
    """As `DevicePeak.bytes`, of the highest phase."""
    phase: str
    """Which one that is."""
    parts: dict[str, int]
    residual_bytes: int
    by_phase: dict[str, DevicePeak]
