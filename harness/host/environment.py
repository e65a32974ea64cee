"""The environment's fingerprint, found without importing torch."""

from __future__ import annotations

import functools
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import harness
from harness.host.gpus import gpus
from harness.host.sources import code, version_of

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "tokenizers", "sacrebleu")
"""Libraries whose version may change a result."""


def installed(package: str) -> str | None:
    """The installed version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


VERSIONS = "HARNESS_VERSIONS"
"""Environment variable in which a process tells those that it starts what the versions were, should files change."""


@functools.cache
def versions() -> dict[str, str | None]:
    """By name, the version of the harness, of Python and of each of PACKAGES; see `version_of`. Of the harness's own
    sources what they do counts, so that a comment makes no other run."""
    if text := os.environ.get(VERSIONS):
        known: dict[str, str | None] = json.loads(text)
        return known
    own = version_of("peft-harness", "harness", harness.__version__, code)
    return {"harness": own, "python": platform.python_version()} | {name: version_of(name) for name in PACKAGES}


@functools.cache
def gpu_name() -> str | None:
    """The first visible GPU's name as the driver gives it, or None. Asks the driver's tool, since torch is slow to
    import."""
    if (installed("torch") or "").endswith("+cpu"):
        return None
    visible = gpus()
    return (visible[0].name or visible[0].device) if visible else None


@functools.cache
def cpu_name() -> str:
    """The processor's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def resolve_dtype(dtype: str, device: str) -> str:
    """`bf16`, `fp16` or `fp32`; `auto` is bf16 where the device multiplies in it, else fp32.

    A CPU without bf16 instructions emulates it, 4 to 80 times slower than fp32 (benchmarks/README.md).
    """
    if dtype != "auto":
        return dtype
    return "bf16" if resolve_device(device) == "cuda" or cpu_has_bf16() else "fp32"


@functools.cache
def cpu_has_bf16() -> bool:
    """The processor multiplies matrices in bf16."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def fingerprint(device: str, threads: int | None) -> dict[str, Any]:
    """What of the surroundings can change a result: versions, device and threads."""
    kind = resolve_device(device)
    return {
        "versions": dict(versions()),
        "device": f"{kind}: {gpu_name() if kind == 'cuda' else cpu_name()}",
        "threads": threads or usable_cores(),
    }


def resolve_device(device: str) -> str:
    """`cpu` or `cuda` for `auto`, `cpu` or `cuda`."""
    return ("cuda" if gpu_name() else "cpu") if device == "auto" else device


CAPS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")
"""Environment variables that keep torch and its libraries from instructions that the processor has."""


def processor() -> str:
    """The processor and those of its instructions that decide in which order sums are added, on one line. Processors of
    one name may differ in them: a host names them as it likes."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        first = ""
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    names = ("vendor_id", "cpu family", "model", "CPU implementer", "CPU part")
    words = [fields[name] for name in names if name in fields] or [platform.processor(), platform.machine()]
    flags = fields.get("flags", fields.get("Features", "")).split()
    words += sorted(flag for flag in flags if flag.startswith(("avx", "amx", "fma", "sse4", "asimd", "sve", "bf16")))
    return " ".join([*words, *(f"{name}={os.environ[name]}" for name in CAPS if name in os.environ)])
