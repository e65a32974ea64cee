"""Floating-point operations: those of a piece of code, by torch's own formulas, and the most that a device does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop, sdpa_flop

aten = torch.ops.aten

GEMM_SIDE = {"cpu": 1024, "cuda": 4096}
"""Rows and columns of the products by which the peak is measured: large enough to be bound by arithmetic, small beside
a model."""
GEMM_SECONDS = 0.3
"""How long the peak is looked for."""


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up in `total` what runs inside, by torch's table of operations and that of products which it lacks.

    torch's own FlopCounterMode takes more than twice the time for it: it keeps counts by module and tries to take each
    operation apart, which no operation of a training step can be.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total: int | None = 0
        self._formulas: dict[Any, Callable[..., int]] = flop_registry | _lacking()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = self._formulas.get(getattr(func, "_overloadpacket", func))
        if formula is not None and self.total is not None:
            try:
                self.total += formula(*args, **(kwargs or {}), out_val=out)
            except (AssertionError, IndexError, TypeError, ValueError):
                self.total = None  # shapes that this version's table does not know
        return out


def _lacking() -> dict[Any, Callable[..., int]]:
    """By operation that torch's table lacks: its count."""
    formulas: dict[Any, Callable[..., int]] = {
        aten.addmm_: lambda _sum, a, b, **_: 2 * a.numel() * b.shape[1],
        aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
    }
    # Those of bitsandbytes are there once it has been imported; which ones, depends on its version.
    quantized: dict[str, Callable[..., int]] = {
        "gemm_4bit": lambda a, _b, shape, *_, **__: 2 * a.numel() * shape[0],
        "int8_scaled_mm": lambda a, b, *_, **__: 2 * a.numel() * b.shape[0],
        "int8_mixed_scaled_mm": lambda _a, a, b, *_, **__: 2 * a.numel() * b.shape[0],
    }
    for name, count in quantized.items():
        if hasattr(torch.ops.bitsandbytes, name):
            formulas[getattr(torch.ops.bitsandbytes, name)] = count
    return formulas


def gemm_peak(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations per second of square matrix products on the process's threads, the best of some."""
    side = GEMM_SIDE[device]
    a, b = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
    out = torch.empty_like(a)

    def product() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        torch.mm(a, b, out=out)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    if device == "cuda":
        product()  # the library starts, kernels are loaded
    end = time.perf_counter() + GEMM_SECONDS
    best = product()
    while time.perf_counter() < end:
        best = min(best, product())
    return 2 * side**3 / best
