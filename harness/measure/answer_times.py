"""How fast a model answers: reading a prompt (prefill) and writing each next token (decode).

What is timed is the very answering that scores are made with, handed in: each pass of the model in it is stamped.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from harness.measure.peak_memory import Peak
from harness.results.sections import Inference

Clock = Callable[[], float]
"""Seconds from some moment on."""


@dataclass(frozen=True)
class Timed:
    """One batch of prompts answered, in seconds."""

    prefill: float
    """From the call to the end of the first pass, which gives the scores of the first new token."""
    decode: tuple[float, ...]
    """From the end of a pass to that of the next one: each new token but the first."""
    total: float
    """From the call to its end."""


def clock_of(device: torch.device) -> Clock:
    """The time once the device has done all that was queued."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


def prompts(tokens: int, special: Collection[int], batch: int, length: int) -> torch.Tensor:
    """Ids [batch, length] drawn from a vocabulary of so many tokens, `special` ones aside: the same every time."""
    plain = torch.tensor(sorted(set(range(tokens)) - set(special)))
    return plain[torch.randint(len(plain), (batch, length), generator=torch.Generator().manual_seed(0))]


def timed(model: torch.nn.Module, run: Callable[[], Any], clock: Clock) -> Timed:
    """Time `run`, which calls `model` once for the prompts and then once for each further token."""
    with _stamping(model, clock) as stamps:
        began = clock()
        run()
        ended = clock()
    steps = tuple(after - before for before, after in itertools.pairwise(stamps))
    return Timed(stamps[0] - began, steps, ended - began)


@contextmanager
def _stamping(model: torch.nn.Module, clock: Clock) -> Iterator[list[float]]:
    """A list that gets the time at the end of each pass of the model."""
    stamps: list[float] = []
    handle = model.register_forward_hook(lambda *_: stamps.append(clock()))
    try:
        yield stamps
    finally:
        handle.remove()


def repeated(
    model: torch.nn.Module, answer: Callable[[int], Any], new: int, repeats: int, seconds: float, clock: Clock
) -> list[Timed]:
    """Time `answer(new)`, which writes that many tokens, `repeats` times, or fewer where that takes longer than
    `seconds`, but once at least. An answer of two tokens comes first, uncounted, so that both are warm."""
    answer(min(new, 2))
    times: list[Timed] = []
    began = clock()
    while not times or (len(times) < repeats and clock() - began < seconds):
        times.append(timed(model, lambda: answer(new), clock))
        if (steps := len(times[-1].decode)) != max(new - 1, 0):
            raise ValueError(f"{steps} steps were made behind the first, for {new} new tokens")
    return times


def summary(times: Sequence[Timed], batch: int, prompt: int, new: int, peak: Peak) -> Inference:
    """The record's figures of one batch size. `new`: tokens that were written for each prompt; 0 for a classifier."""
    decode = [step for each in times for step in each.decode]
    prefill = [each.prefill for each in times]
    return Inference(
        batch_size=batch,
        prompt_tokens=prompt,
        new_tokens=new,
        repeats=len(times),
        prefill_seconds=statistics.median(prefill),
        prefill_iqr=_iqr(prefill),
        decode_seconds_per_token=statistics.median(decode) if decode else None,
        decode_iqr=_iqr(decode),
        tokens_per_second=statistics.median(batch * new / each.total for each in times) if new else None,
        rss_growth=peak.rss_growth,
        cuda_allocated=peak.cuda_allocated,
    )


def _iqr(values: Sequence[float]) -> float | None:
    """Distance between the quartiles; None of fewer than three values."""
    if len(values) < 3:
        return None
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low
