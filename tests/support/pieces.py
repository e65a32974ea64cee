"""Memory in many small pieces."""

from __future__ import annotations

import torch

MIB = 2**20


def small_pieces(mib: int) -> list[torch.Tensor]:
    """Memory that the C library keeps when it is freed, since no piece is large enough for a mapping of its own."""
    return [torch.ones(MIB // 64) for _ in range(16 * mib)]  # 64 KiB each
