"""Who owns the memory, and when it is most: every live tensor storage counted by owner, its peak by phase.

The ledger sees each operation that reaches the device, so it counts what tensors hold and nothing else: neither what a
kernel needs inside itself nor what the allocator keeps. It works alike on real tensors and on shapes alone (torch's
FakeTensorMode), which makes it the planner too.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.results.sections import OWNERS, PHASES, TRAINING, Owner, Phase

BLOCK = {"cuda": 512, "cpu": 1}
"""Bytes that an allocation is rounded up to: by torch's CUDA allocator; on a CPU torch asks malloc for just what it
needs."""


@dataclass(frozen=True)
class Held:
    """A tensor that is part of a peak."""

    owner: Owner
    bytes: int
    name: str
    """The module's path and its parameter, or the module in which it was made."""
    shape: tuple[int, ...]
    dtype: str
    made_by: str
    """The operation whose result it is; empty for what was there before."""


@dataclass(frozen=True)
class Moment:
    """The moment of a phase at which most is held."""

    bytes: int
    by_owner: dict[Owner, int]
    largest: tuple[Held, ...]
    """The largest tensors of that moment, largest first."""


class DeviceView(Protocol):
    """What looks at the device while the ledger counts."""

    def begin(self, phase: Phase) -> None:
        """A phase begins."""

    def operation(self, phase: Phase, ledger: Ledger) -> None:
        """An operation has ended."""

    def end(self, phase: Phase) -> None:
        """The phase has ended."""


class _Block:
    """A storage. Who owns it may turn out later, so the sums are made at the end."""

    __slots__ = ("bytes", "dtype", "made_by", "name", "owner", "shape")

    def __init__(self, owner: Owner, size: int, tensor: torch.Tensor, name: str, made_by: str) -> None:
        self.owner, self.bytes, self.name, self.made_by = owner, size, name, made_by
        self.shape, self.dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts storages from `claim` or the operation that makes them until they are freed.

    Enter it, name phases, claim what is known; afterwards ask for `peaks`.
    """

    def __init__(self, device: str, block: int, model: torch.nn.Module, view: DeviceView | None = None) -> None:
        """`device`: type of the device that is counted; `block`: bytes that each storage is rounded up to; `view`:
        looks at the device meanwhile."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.device, self.block, self.view = device, block, view
        self._live: dict[int, tuple[weakref.ref[Any], _Block]] = {}
        self._events: list[tuple[_Block, int]] = []
        """Each storage made (1) or freed (-1), in order."""
        self._phases: list[tuple[int, Phase]] = []
        """Index of the first event of each stretch."""
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._inside: list[str] = []
        self._recomputed: list[_Block] | None = None

    # What is counted

    def claim(self, owner: Owner, named: Iterable[tuple[str, torch.Tensor]]) -> None:
        """These tensors belong to `owner`, unless they have an owner that was claimed before."""
        for name, tensor in ((name, part) for name, each in named for part in _dense(each)):
            block = self._see(tensor, "")
            if block is not None and block.owner in ("temporaries", "activations"):
                block.owner, block.name = owner, name or block.name

    def forget(self, tensors: Iterable[torch.Tensor]) -> None:
        """These would not be there in a run: they count as nothing."""
        for tensor in tensors:
            block = self._see(tensor, "")
            if block is not None:
                block.bytes = 0

    def _see(self, tensor: torch.Tensor, made_by: str) -> _Block | None:
        if tensor.device.type != self.device:
            return None
        storage = tensor.untyped_storage()
        key = storage._cdata
        if (known := self._live.get(key)) is not None and known[0]() is storage:
            return known[1]
        size = -(-storage.nbytes() // self.block) * self.block
        block = _Block("temporaries", size, tensor, self._inside[-1] if self._inside else "", made_by)
        self._events.append((block, 1))
        self._live[key] = (weakref.ref(storage, lambda ref: self._freed(key, ref)), block)
        if self._recomputed is not None:
            self._recomputed.append(block)
        return block

    def _freed(self, key: int, ref: Any) -> None:
        known = self._live.get(key)
        if known is not None and known[0] is ref:
            del self._live[key]
            self._events.append((known[1], -1))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._recompute(torch.is_grad_enabled())
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor):
                for part in _dense(each):
                    self._see(part, str(func))
        if self.view and self._phase:
            self.view.operation(self._phase, self)
        return result

    def _recompute(self, grad: bool) -> None:
        """A backward pass computes without gradients, but for what gradient checkpointing computes again: what is left
        of that is saved for the backward pass like any activation."""
        if self._phase != "backward":
            return
        if grad and self._recomputed is None:
            self._recomputed = []
        elif not grad and self._recomputed is not None:
            self._survivors_are_activations(self._recomputed)
            self._recomputed = None

    def _survivors_are_activations(self, blocks: Iterable[_Block]) -> None:
        live = {id(block) for _, block in self._live.values()}
        for block in blocks:
            if id(block) in live and block.owner == "temporaries":
                block.owner = "activations"

    def held(self) -> int:
        """Bytes that are held now."""
        return sum(block.bytes for _, block in self._live.values())

    def storages(self) -> list[tuple[int, int]]:
        """Address and bytes of each live storage."""
        live = [storage for ref, _ in self._live.values() if (storage := ref()) is not None]
        return [(storage.data_ptr(), storage.nbytes()) for storage in live]

    # When

    @property
    def _phase(self) -> Phase | None:
        return self._phases[-1][1] if self._phases else None

    @contextlib.contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """What happens inside belongs to this phase. What a forward pass leaves is saved for the backward pass."""
        gc.collect()  # outside the phase, so that a collection by chance does not change what is counted
        self._phases.append((len(self._events), name))
        self._inside.clear()
        before = len(self._events)
        gc.disable()
        if self.view:
            self.view.begin(name)
        try:
            yield
        finally:
            gc.enable()
            if self.view:
                self.view.end(name)
            self._recompute(False)
            self._inside.clear()
        if name == "forward":
            self._survivors_are_activations(block for block, _ in self._events[before:])

    def __enter__(self) -> Ledger:
        # Not by hooks: a module that has some keeps its inputs for longer.
        self._call = torch.nn.Module.__call__
        ledger, call = self, self._call

        def named(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
            ledger._inside.append(ledger._paths.get(id(module), type(module).__name__))
            try:
                return call(module, *args, **kwargs)
            finally:
                if ledger._inside:
                    ledger._inside.pop()

        torch.nn.Module.__call__ = named  # type: ignore[method-assign]
        gc.collect()
        gc.freeze()  # what is there already need not be looked through at each phase
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        gc.unfreeze()
        torch.nn.Module.__call__ = self._call  # type: ignore[method-assign]

    # What comes out

    def peaks(self, largest: int) -> dict[Phase, Moment]:
        """For each phase the moment at which most is held, with its `largest` tensors.

        A training is steady from its second step on: the optimizer's state counts from the first forward pass on.
        """
        self._live.clear()
        held: dict[_Block, None] = {}
        moments: dict[Phase, Moment] = {}
        state = list(dict.fromkeys(block for block, _ in self._events if block.owner == "optimizer_state"))
        bounds = [*self._phases, (len(self._events), "load")]
        _apply(held, self._events[: self._phases[0][0]])
        total = sum(block.bytes for block in held)
        for (first, phase), (end, _) in itertools.pairwise(bounds):
            more = sum(block.bytes for block in state) if phase in TRAINING else 0
            peak, at, current = total, first, total
            for index in range(first, end):
                block, change = self._events[index]
                if block.owner != "optimizer_state":
                    current += change * block.bytes
                    if current > peak:
                        peak, at = current, index + 1
            if phase not in moments or peak + more > moments[phase].bytes:
                chosen = dict(held)
                _apply(chosen, self._events[first:at])
                moments[phase] = _moment([*chosen, *(state if more else ())], largest)
            _apply(held, self._events[first:end])
            total = current
        return {phase: moments[phase] for phase in PHASES if phase in moments}


def _dense(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The tensors in which a tensor's content lies: itself, or of a sparse one its indices and values."""
    if tensor.layout == torch.strided:
        return (tensor,)
    if tensor.layout == torch.sparse_coo:
        return tensor._indices(), tensor._values()
    return tensor.crow_indices(), tensor.col_indices(), tensor.values()


def _apply(held: dict[_Block, None], events: list[tuple[_Block, int]]) -> None:
    for block, change in events:
        if block.owner == "optimizer_state":
            continue
        if change > 0:
            held[block] = None
        else:
            held.pop(block, None)


def _moment(blocks: list[_Block], largest: int) -> Moment:
    by_owner = {owner: sum(block.bytes for block in blocks if block.owner == owner) for owner in OWNERS}
    ordered = sorted(blocks, key=lambda block: (-block.bytes, block.name, block.made_by))[:largest]
    held = tuple(Held(b.owner, b.bytes, b.name, b.shape, b.dtype, b.made_by) for b in ordered)
    return Moment(sum(by_owner.values()), by_owner, held)
