"""A world in which tensors have shapes and no content, for plans."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import _meta_registrations as rules
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from harness.host.environment import installed


@contextlib.contextmanager
def shapes_only() -> Iterator[FakeTensorMode]:
    """Inside, tensors that are made take no memory, and operations work out the shape of their results."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, contextlib.ExitStack() as stack:
        # `Module.to` swaps tensors without content for others, which it cannot where something refers to them weakly.
        stack.enter_context(_replaced(torch.utils, "swap_tensors", _set_data))
        # One number drawn for a decision, such as whether to leave a module out: taken from the middle.
        draw = torch.rand
        stack.enter_context(
            _replaced(
                torch, "rand", lambda *size, **options: torch.tensor([0.5]) if size == (1,) else draw(*size, **options)
            )
        )
        if hasattr(rules, "_meta_grouped_mm_common"):  # torch of before has no product of groups on a CPU
            stack.enter_context(_replaced(rules, "_meta_grouped_mm_common", _grouped))
        if installed("bitsandbytes"):
            from bitsandbytes import functional

            make = functional.create_dynamic_map

            def table(*args: Any, **kwargs: Any) -> torch.Tensor:
                # The code table of 8-bit states is worked out in lists of numbers, which shapes have not.
                with unset_fake_temporarily():
                    tensor: torch.Tensor = make(*args, **kwargs)  # type: ignore[no-untyped-call]
                return mode.from_tensor(tensor)

            stack.enter_context(_replaced(functional, "create_dynamic_map", table))
            # Made once and kept: what is made here must not be found outside, nor what is there be used here.
            stack.enter_context(_replaced(functional, "name2qmap", {}))
        yield mode


def _grouped(
    rows: torch.Tensor, weights: torch.Tensor, *, offs: Any, out_dtype: torch.dtype | None, **_: Any
) -> torch.Tensor:
    """The product of experts' inputs with their weights, in any dtype: torch's own rule refuses all but bf16, which its
    product does not."""
    made: torch.Tensor = rules._create_grouped_mm_output_tensor(  # type: ignore[no-untyped-call]
        rows, weights, offs, out_dtype
    )
    return made


def _set_data(target: torch.Tensor, source: torch.Tensor) -> None:
    target.data = source.data


@contextlib.contextmanager
def _replaced(holder: Any, name: str, other: Any) -> Iterator[None]:
    kept = getattr(holder, name)
    setattr(holder, name, other)
    try:
        yield
    finally:
        setattr(holder, name, kept)
