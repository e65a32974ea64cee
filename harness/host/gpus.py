"""The GPUs of this machine, as the driver's tool tells of them, and which run has which. Imports no torch.

A run has a GPU to itself while it lasts: a lock for each GPU in the cache folder sees to it, whichever launcher has
started the run, and for two sweeps at once.

The package pynvml would be as many lines, and tests would make up the package where now they make up the driver's tool.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from filelock import FileLock, Timeout

from harness.host.cache import cache_folder

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The environment variable that says which GPUs a process may see, and in which order."""

NOTICED = 256 * 2**20
"""Bytes in use on a GPU before a run that the run tells of: more than the driver and an idle screen hold."""

INTERVAL = 0.5
"""Seconds between two tries to have a GPU."""


@dataclass(frozen=True)
class Gpu:
    """One device. What the driver does not tell is None, as of the parts of a divided GPU (MIG)."""

    device: str
    """Its UUID, by which `CUDA_VISIBLE_DEVICES` may name it: another one on any other machine."""
    name: str | None = None
    total: int | None = None
    """Bytes of memory."""
    used: int | None = None
    """Bytes that processes use now, this one or any other."""
    free: int | None = None
    """Bytes that nobody uses now."""


def gpus() -> tuple[Gpu, ...]:
    """The GPUs that this process may use, in CUDA's order: those that CUDA_VISIBLE_DEVICES names, or all."""
    there = _there()
    asked = os.environ.get(VISIBLE)
    if asked is None or not there:
        return there
    visible: list[Gpu] = []
    for entry in asked.split(","):
        one = _named(entry.strip(), there)
        if one is None or one in visible:  # CUDA sees nothing from the first name on that means nothing
            break
        visible.append(one)
    return tuple(visible)


def _named(entry: str, there: tuple[Gpu, ...]) -> Gpu | None:
    """The GPU that an entry of CUDA_VISIBLE_DEVICES means: a number as the driver's tool counts, the beginning of a
    UUID, or a MIG device."""
    if entry.startswith("MIG-"):
        return Gpu(entry)
    if entry.startswith("GPU-"):
        matching = [gpu for gpu in there if gpu.device.startswith(entry)]
        return matching[0] if len(matching) == 1 else None
    # CUDA itself counts unlike devices with the fastest first, unless CUDA_DEVICE_ORDER=PCI_BUS_ID.
    return there[int(entry)] if re.fullmatch(r"\d+", entry) and int(entry) < len(there) else None


def _there() -> tuple[Gpu, ...]:
    """Every GPU of the machine, in the order of the bus."""
    if not shutil.which("nvidia-smi"):
        return ()
    query = [
        "nvidia-smi",
        "--query-gpu=uuid,name,memory.total,memory.used,memory.free",
        "--format=csv,noheader,nounits",
    ]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    rows = [[field.strip() for field in line.split(",")] for line in answer.stdout.splitlines()]
    if answer.returncode != 0:
        return ()
    return tuple(Gpu(row[0], row[1], *map(_bytes, row[2:])) for row in rows if len(row) == 5)


def _bytes(mebibytes: str) -> int | None:
    return int(mebibytes) * 2**20 if mebibytes.isdigit() else None  # else `[N/A]` and the like


def free_bytes() -> int | None:
    """Memory of the first GPU that nobody uses now. None where there is none, or nobody tells."""
    return next((gpu.free for gpu in gpus()), None)


def equal_gpus() -> tuple[Gpu, ...]:
    """The GPUs on which a sweep's runs may be compared with each other: of the first one's name."""
    visible = gpus()
    return tuple(gpu for gpu in visible if gpu.name == visible[0].name)


@contextlib.contextmanager
def taken(stopped: Callable[[], bool]) -> Iterator[Gpu | None]:
    """A GPU that no other run has, while the block lasts; waits for one where all are taken. None where there is none
    to see. Raises KeyboardInterrupt where `stopped` while waiting."""
    warned = False
    folder = cache_folder() / "gpus"
    there = equal_gpus()
    if not there:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for gpu in sorted(there, key=lambda gpu: -(gpu.free or 0)):
            lock = FileLock(folder / (re.sub(r"[^\w.-]", "_", gpu.device) + ".lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                # What is in use is asked for now that no other run is there.
                yield next((each for each in gpus() if each.device == gpu.device), gpu)
            finally:
                lock.release()
            return
        if not warned:
            print(f"every GPU ({len(there)}) has a run; waiting for one", flush=True)
            warned = True
        if stopped():
            raise KeyboardInterrupt
        time.sleep(INTERVAL)


def others(gpu: Gpu) -> list[str]:
    """A warning where other processes use this GPU's memory. Ask before the run has any itself."""
    if gpu.used is None or gpu.used < NOTICED:
        return []
    of = "" if gpu.total is None else f" of {gpu.total / 2**30:.1f}"
    return [
        f"other processes held {gpu.used / 2**30:.1f}{of} GiB of the GPU's memory when the run began: "
        "its timings may be disturbed, and it had less memory than the GPU has"
    ]
