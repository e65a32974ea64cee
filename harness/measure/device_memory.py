"""Why a process holds more than its tensors: the ledger's bytes beside the resident set, with the difference by name.

The parts are measured each by itself, by the kernel, by the C library or by the ledger; only the residual is what is
left. On a GPU the same of the driver's figure.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from harness.measure.peak_memory import RESET_PEAK, give_back, resident
from harness.results.sections import DeviceMemory, DevicePeak

if TYPE_CHECKING:
    from harness.measure.ledger import Ledger, Moment
    from harness.results.sections import Phase


FINER = 1.02
"""A new maximum is looked into where it exceeds the last one by this factor: what is in between is residual."""

ARENA = 64 * 2**20
"""glibc's arenas of further threads begin at multiples of this (HEAP_MAX_SIZE on 64-bit systems)."""

ATTEMPTS = 20
"""To look at all heaps while none of them shrinks."""

FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
"""Of `struct mallinfo2` in their order (malloc/malloc.h of glibc)."""


class NotMeasurable(Exception):
    """This system does not tell; says why."""


class _Mallinfo2(ctypes.Structure):
    """What malloc has given out and what it keeps."""

    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS.split()]


@dataclass(frozen=True)
class Malloc:
    """What the C library's allocator holds, in bytes."""

    in_heaps: int
    """Given out from its heaps."""
    mapped: int
    """Given out as mappings of their own, as large pieces are."""
    kept: int
    """Resident in its heaps, and not given out."""


@dataclass(frozen=True)
class _Mapping:
    start: int
    end: int
    file: bool
    heap: bool


def mappings() -> Iterator[_Mapping]:
    """The process's mappings (man 5 proc)."""
    with Path("/proc/self/maps").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            bounds, mode, _, _, inode, *name = line.split(maxsplit=5)
            start, end = (int(each, 16) for each in bounds.split("-"))
            anonymous = inode == "0" and not name
            heap = bool(name) and name[0].startswith("[heap]")
            arena = anonymous and mode[0] == "r" and start % ARENA == 0 and end - start <= ARENA
            yield _Mapping(start, end, inode != "0", heap or arena)


class CLibrary:
    """glibc's own account of its heaps. Raises NotMeasurable where there is none (before 2.33, and elsewhere)."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None) if sys.platform == "linux" else None
        if library is None or not hasattr(library, "mallinfo2"):
            raise NotMeasurable("what malloc holds is known of glibc 2.33 or newer alone")
        self._mincore, self._info = library.mincore, library.mallinfo2
        self._mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
        self._info.restype = _Mallinfo2
        self._page = int(library.getpagesize())

    def malloc(self) -> Malloc:
        """Now."""
        for _ in range(ATTEMPTS):
            # Whatever is freed meanwhile, this loop's own objects too, may make a heap shrink under the list of them.
            heaps = [self._resident(each.start, each.end) for each in list(mappings()) if each.heap]
            if None not in heaps:
                break
        info = self._info()
        in_heaps = sum(each or 0 for each in heaps)
        return Malloc(info.uordblks, info.hblkhd, in_heaps - info.uordblks)

    def _resident(self, start: int, end: int) -> int | None:
        """Resident bytes of a mapping; None where part of it is no longer there."""
        pages = ctypes.create_string_buffer((end - start) // self._page)
        if self._mincore(start, end - start, pages):
            return None
        return self._page * pages.raw.count(1)


@dataclass(frozen=True)
class _Snapshot:
    """The process right after the operation that brought a new maximum, in bytes."""

    peak: int
    """Of the resident set, within the operation."""
    resident: int
    """After it."""
    tensors: int
    malloc: Malloc


class ProcessView:
    """The resident set of this process during the ledger's pass; made when the base is loaded, so that what grows from
    then on is distinguished from what was there. Raises NotMeasurable where the system does not tell."""

    def __init__(self, base: Iterable[torch.Tensor]) -> None:
        self._library = CLibrary()
        storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in base}
        self._objects = _objects(self._library.malloc(), sum(storages.values()) - _in_files(storages.items())[0])
        try:
            resident("RssAnon")  # which a kernel may not tell
            self._reset = open("/proc/self/clear_refs", "wb", buffering=0)  # noqa: SIM115
            self._reset.write(RESET_PEAK.encode())  # or may not be told
            self._status = open("/proc/self/status", "rb", buffering=0)  # noqa: SIM115
        except OSError:
            raise NotMeasurable("this system does not let the peak be reset between phases") from None
        self._found: dict[Phase, _Snapshot] = {}
        self._peaks: dict[Phase, int] = {}

    def start(self, ledger: Ledger) -> None:
        """What is there before the pass: what was freed is given back, so that only what is in use counts."""
        gc.collect()
        give_back()
        self._in_files, self._files = _in_files(ledger.storages())
        malloc, tensors = self._library.malloc(), ledger.held() - self._in_files
        self._interpreter = resident("RssAnon") - tensors - malloc.kept - (_objects(malloc, tensors) - self._objects)

    def begin(self, phase: Phase) -> None:
        """Forget the peak so far. Scoring begins as in a run, which gives back what training left."""
        if phase == "evaluate":
            give_back()
        self._reset.write(RESET_PEAK.encode())

    def operation(self, phase: Phase, ledger: Ledger) -> None:
        """After each operation of the pass."""
        peak = self._read(b"VmHWM:")
        if phase not in self._found or peak > FINER * self._found[phase].peak:
            self._found[phase] = self._now(ledger, peak)

    def end(self, phase: Phase) -> None:
        """The phase's peak is known."""
        self._peaks[phase] = max(self._peaks.get(phase, 0), self._read(b"VmHWM:"))

    def result(self, _: dict[Phase, Moment]) -> DeviceMemory:
        """The parts of each phase's peak. The process's own peak begins anew, without that of the pass."""
        weights = self._resident_weights()
        libraries = resident("RssFile") - weights
        peaks = {}
        for phase, at in self._found.items():
            parts = {
                "tensors": at.tensors,
                "interpreter": self._interpreter,
                "libraries": libraries,
                "weight_files": weights - self._in_files,
                "objects": _objects(at.malloc, at.tensors - self._in_files) - self._objects,
                "allocator": at.malloc.kept,
                "workspace": at.peak - at.resident,
            }
            peaks[phase] = _peak(self._peaks[phase], parts)
        give_back()
        self._reset.write(RESET_PEAK.encode())
        self._reset.close()
        self._status.close()
        return summary(peaks)

    def _now(self, ledger: Ledger, peak: int) -> _Snapshot:
        return _Snapshot(peak, self._read(b"VmRSS:"), ledger.held(), self._library.malloc())

    def _read(self, field: bytes) -> int:
        """As `resident`, without opening and decoding the file at each of some ten thousand operations."""
        self._status.seek(0)
        text = self._status.read(4096)
        start = text.index(field) + len(field)
        return 1024 * int(text[start : text.index(b"k", start)])

    def _resident_weights(self) -> int:
        """Resident bytes of the mapped files in which tensors lie."""
        total, inside = 0, False
        with Path("/proc/self/smaps").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                word = line.split(maxsplit=2)
                if not word[0].endswith(":"):
                    inside = int(word[0].split("-")[0], 16) in self._files
                elif inside and word[0] == "Rss:":
                    total += 1024 * int(word[1])
        return total


def _objects(malloc: Malloc, tensors: int) -> int:
    """What malloc has given out besides tensors."""
    return malloc.in_heaps + malloc.mapped - tensors


def _in_files(storages: Iterable[tuple[int, int]]) -> tuple[int, set[int]]:
    """Bytes of the storages that lie in mapped files, as weights that are read from disk may, and where those begin."""
    files = [each for each in mappings() if each.file]
    size, begins = 0, set()
    for address, each in storages:
        for file in files:
            if file.start <= address < file.end:
                size += each
                begins.add(file.start)
    return size, begins


class CudaView:
    """The driver's figure for the device in use, during the ledger's pass."""

    def __init__(self) -> None:
        self._allocated: dict[Phase, tuple[int, int, int]] = {}

    def start(self, ledger: Ledger) -> None:
        """Nothing is kept that was freed before."""
        gc.collect()
        torch.cuda.empty_cache()

    def begin(self, phase: Phase) -> None:
        """Forget the peak so far."""
        if phase == "evaluate":
            torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def operation(self, phase: Phase, ledger: Ledger) -> None:
        """The allocator keeps its peaks itself."""

    def end(self, phase: Phase) -> None:
        """The phase's peak is known."""
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        context = total - free - torch.cuda.memory_reserved()
        if phase not in self._allocated or allocated > self._allocated[phase][0]:
            self._allocated[phase] = (allocated, reserved, context)

    def result(self, peaks: dict[Phase, Moment]) -> DeviceMemory:
        """The parts of each phase's peak."""
        before = torch.cuda.memory_allocated()
        torch._C._cuda_clearCublasWorkspaces()
        workspace = before - torch.cuda.memory_allocated()
        device_peaks = {}
        for phase, (allocated, reserved, context) in self._allocated.items():
            parts = {
                "tensors": peaks[phase].bytes,
                "workspace": workspace,
                "allocator": reserved - allocated,
                "context": context,
            }
            device_peaks[phase] = _peak(reserved + context, parts).model_copy(
                update={"cuda_allocated": allocated, "cuda_reserved": reserved}
            )
        return summary(device_peaks)


View = ProcessView | CudaView


def device_view(device: str, base: Iterable[torch.Tensor]) -> View:
    """The view of a device's type (`cpu`, `cuda`), made when `base` has been loaded: its tensors. Raises NotMeasurable
    where the system does not tell."""
    return CudaView() if device == "cuda" else ProcessView(base)


def _peak(size: int, parts: dict[str, int]) -> DevicePeak:
    return DevicePeak(bytes=size, parts=parts, residual_bytes=size - sum(parts.values()))


def summary(peaks: dict[Phase, DevicePeak]) -> DeviceMemory:
    """All phases, the highest one named."""
    phase = max(peaks, key=lambda name: peaks[name].bytes)
    most = peaks[phase]
    return DeviceMemory(
        peak_bytes=most.bytes, phase=phase, parts=most.parts, residual_bytes=most.residual_bytes, by_phase=dict(peaks)
    )
