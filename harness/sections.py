"""The sections of a record: what is known of a run, by subject. Imports neither torch nor Hydra.

Bytes and seconds; what was not measured is null, and the record's `null_reasons` says why.
"""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict


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

    train_rss_above_base: int | None = None
    """Peak resident set of the run's process during training, above that of the loaded base (CPU runs)."""
    evaluate_rss_above_base: int | None = None
    """The same during generation and scoring."""
    process_peak_rss: int | None = None
    """Highest resident set of the run's process in any phase, shared pages of the base included."""
    train_cuda_allocated: int | None = None
    """Peak of CUDA memory held by tensors during training, base included."""
    train_cuda_reserved: int | None = None
    """Peak of CUDA memory held by the allocator during training."""
    evaluate_cuda_allocated: int | None = None
    evaluate_cuda_reserved: int | None = None


class Throughput(Section):
    """Training speed after warm-up steps; padding is not counted."""

    tokens_per_second: float
    """Median over timed steps of prompt and completion tokens per second."""
    samples_per_second: float
    """Median over timed steps of examples per second."""
    tokens_per_second_iqr: float
    """Distance between the quartiles of tokens per second over the timed steps."""
    timed_steps: int


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


class LmEvalTask(Section):
    """A task of lm-evaluation-harness under the untouched base and after training."""

    examples: int
    before: dict[str, float]
    """By that library's name of a metric and its filter (`acc,none`), as it aggregates them."""
    after: dict[str, float]
    right: str | None
    """The metric by which an example is right or wrong; None where no metric says so."""
    lost: int | None
    """Examples that were right before and wrong after."""
    gained: int | None
    """Examples that were wrong before and right after."""


class DevicePeak(Section):
    """The device's own figure at the peak of a phase, and what it consists of."""

    bytes: int
    """Resident set of the process (CPU), or memory in use on the device as its driver says it (GPU)."""
    parts: dict[str, int]
    """By name, in bytes, each measured by itself; docs/measuring.md says what each one is."""
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
