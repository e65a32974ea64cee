"""Peak memory by phase: the process's resident set on a CPU, the allocator's figures on a GPU."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

RESET_PEAK = "5"
"""Written to /proc/self/clear_refs, it sets the peak resident set back to the present one (man 5 proc)."""


def resident(field: str) -> int:
    """`VmRSS` (now), its parts `RssAnon` and `RssFile`, or `VmHWM` (peak) of this process in bytes. Linux only: raises
    OSError elsewhere."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}")


def give_back() -> None:
    """Return freed memory to the system, or it would count as in use: above all what converting a model left behind."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:  # glibc alone has it
        trim(0)


def reached() -> tuple[int | None, int | None]:
    """Peaks in bytes since the last `Meter.start`: resident set, and CUDA memory of tensors; None where unknown."""
    try:
        rss: int | None = resident("VmHWM")
    except OSError:
        rss = None
    return rss, torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Peak:
    """Peaks of one phase in bytes; None where this system does not tell."""

    rss_growth: int | None
    cuda_allocated: int | None
    cuda_reserved: int | None


class Meter:
    """Peaks of one phase after another, resident memory counted above that at the start."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"
        self.process_peak: int | None = None
        give_back()
        try:
            self.base: int | None = resident("VmRSS")
        except OSError:
            self.base = None

    def start(self) -> None:
        """Forget the peak so far."""
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        if self.base is None:
            return
        give_back()
        self._note()
        try:
            Path("/proc/self/clear_refs").write_text(RESET_PEAK)
        except OSError:  # a container may forbid it; then no phase can be told from another
            self.base = None

    def peak(self) -> Peak:
        """The peak since `start`."""
        self._note()
        return Peak(
            rss_growth=None if self.cuda or self.base is None else max(0, resident("VmHWM") - self.base),
            cuda_allocated=torch.cuda.max_memory_allocated() if self.cuda else None,
            cuda_reserved=torch.cuda.max_memory_reserved() if self.cuda else None,
        )

    def _note(self) -> None:
        if self.base is not None:
            self.process_peak = max(self.process_peak or 0, resident("VmHWM"))
