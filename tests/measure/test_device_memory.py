"""The process beside the ledger, part by part, against memory of known size."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from harness.host.environment import installed
from harness.measure.device_memory import CLibrary, NotMeasurable, ProcessView, device_view
from harness.measure.ledger import Ledger
from harness.memory.ledger_pass import base_tensors, run_pass
from harness.memory.longest_batches import run_batches
from harness.results.sections import DeviceMemory
from harness.training.precision import enable_checkpointing
from tests.support.pieces import MIB, small_pieces
from tests.support.tiny import adapted

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux alone"),
    pytest.mark.own_process,
]

NEAR = 4 * MIB
"""What Python and the ledger may take for themselves meanwhile."""


@contextlib.contextmanager
def c_memory(mib: int) -> Iterator[None]:
    """Memory that C code asks for and writes to, of which torch knows nothing."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    at = library.malloc(ctypes.c_size_t(mib * MIB))
    ctypes.memset(at, 1, mib * MIB)
    yield
    library.free(ctypes.c_void_p(at))


@torch.library.custom_op("harness_test::with_workspace", mutates_args=())
def with_workspace(x: torch.Tensor) -> torch.Tensor:
    """An operation that needs 150 MiB inside itself."""
    with c_memory(150):
        return x.clone()


def seen(work: Callable[[], object], *there: torch.Tensor) -> DeviceMemory:
    """The process while `work` is done as a forward pass, with the tensors that are there before."""
    view = device_view("cpu", there)
    ledger = Ledger("cpu", 1, torch.nn.Identity(), view)
    with ledger:
        ledger.claim("base_weights", [("", each) for each in there])
        view.start(ledger)
        with ledger.phase("forward"):
            work()
    return view.result(ledger.peaks(0))


@pytest.fixture(autouse=True, scope="module")
def imported() -> None:
    """When torch first hands an operation to a ledger it imports hundreds of modules."""
    seen(lambda: torch.ones(1))


def test_malloc_knows_what_is_mapped_given_out_and_kept() -> None:
    library = CLibrary()
    start = library.malloc()
    large = torch.ones(100 * MIB // 4)
    assert library.malloc().mapped - start.mapped == pytest.approx(100 * MIB, abs=MIB)
    pieces = small_pieces(100)
    full = library.malloc()
    assert full.in_heaps - start.in_heaps == pytest.approx(100 * MIB, rel=0.01)
    del pieces[:-1], large
    after = library.malloc()
    assert full.in_heaps - after.in_heaps == pytest.approx(100 * MIB, rel=0.01)
    assert after.kept - full.kept == pytest.approx(100 * MIB, rel=0.01)
    assert after.mapped == start.mapped
    assert len(pieces) == 1


def test_a_heap_that_shrinks_while_it_is_looked_at_is_not_lost() -> None:
    """malloc gives the heap's top back at every free: the list of heaps is outdated as soon as it is read. Before, such
    a heap counted as none, of 170 MB in a pass of a tiny model."""
    m_trim_threshold = -1  # malloc.h
    assert ctypes.CDLL(None).mallopt(m_trim_threshold, 1)
    held = [bytearray(2000) for _ in range(30_000)]
    library = CLibrary()
    for size in range(300):
        junk = [bytearray(3000 + size) for _ in range(size % 50)]
        malloc = library.malloc()
        assert malloc.kept > -(2**20)
        del junk
    assert malloc.in_heaps > sum(map(len, held))


def test_tensors_are_tensors() -> None:
    there = torch.ones(50 * MIB // 4)
    before = seen(lambda: torch.ones(1), there).parts["allocator"]  # of what ran in this process before
    found = seen(lambda: torch.ones(100 * MIB // 4), there)
    assert found.phase == "forward"
    assert found.parts["tensors"] == 150 * MIB
    assert found.parts["allocator"] == pytest.approx(before, abs=2 * NEAR)
    assert found.parts["workspace"] == pytest.approx(0, abs=MIB)
    assert abs(found.residual_bytes) < NEAR
    assert found.peak_bytes == sum(found.parts.values()) + found.residual_bytes


def test_what_was_freed_and_kept_is_the_allocators() -> None:
    def work() -> None:
        pieces = small_pieces(200)
        del pieces[:-1]
        assert torch.ones(300 * MIB // 4).numel()

    before, found = seen(lambda: torch.ones(300 * MIB // 4)), seen(work)
    assert found.parts["tensors"] == pytest.approx(300 * MIB, abs=MIB)
    assert found.parts["allocator"] - before.parts["allocator"] == pytest.approx(200 * MIB, abs=NEAR)
    assert abs(found.residual_bytes) < 0.03 * found.peak_bytes  # a new maximum is looked into when it is 2% higher


def test_what_an_operation_needs_inside_itself_is_workspace() -> None:
    found = seen(lambda: with_workspace(torch.ones(50 * MIB // 4)))
    assert found.parts["tensors"] == 100 * MIB
    assert found.parts["workspace"] == pytest.approx(150 * MIB, abs=MIB)
    assert abs(found.residual_bytes) < NEAR


def test_what_c_code_holds_is_objects_and_what_was_there_before_is_the_interpreters() -> None:
    def work() -> None:
        memory.enter_context(c_memory(80))
        assert torch.ones(100 * MIB // 4).numel()

    plain = seen(lambda: torch.ones(100 * MIB // 4))
    with contextlib.ExitStack() as memory:
        during = seen(work)
        before = seen(lambda: torch.ones(100 * MIB // 4))
    assert during.parts["objects"] - plain.parts["objects"] == pytest.approx(80 * MIB, abs=NEAR)
    assert before.parts["interpreter"] - plain.parts["interpreter"] == pytest.approx(80 * MIB, abs=NEAR)
    assert during.parts["tensors"] == before.parts["tensors"] == 100 * MIB
    assert abs(during.residual_bytes) + abs(before.residual_bytes) < 2 * NEAR


def test_weights_in_a_mapped_file_are_tensors_and_no_library(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"1" * 100 * MIB)
    weights = torch.from_file(str(path), shared=False, size=100 * MIB, dtype=torch.uint8)

    def work() -> None:
        assert int(weights.max()) == ord("1")

    plain, found = seen(lambda: torch.ones(1)), seen(work, weights)
    assert found.parts["tensors"] == pytest.approx(100 * MIB, abs=MIB)
    for part in ("libraries", "interpreter", "objects", "weight_files"):
        assert found.parts[part] == pytest.approx(plain.parts[part], abs=NEAR)
    assert abs(found.residual_bytes) < NEAR


def test_pages_of_a_weights_file_that_are_no_tensors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"1" * 100 * MIB)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        assert mapped.find(b"2") == -1  # every page is read
        weights = torch.frombuffer(mapped, dtype=torch.uint8, count=40 * MIB)
        found = seen(lambda: torch.ones(1), weights)
        del weights
    assert found.parts["tensors"] == pytest.approx(40 * MIB, abs=MIB)
    assert found.parts["weight_files"] == pytest.approx(60 * MIB, abs=MIB)
    assert abs(found.residual_bytes) < NEAR


@pytest.mark.parametrize(
    "overrides",
    [
        ["method=lora"],
        ["method=full", "train.accumulation=2", "train.optimizer=adamw8bit"],
        ["method=prefix_tuning"],
        ["method=ia3", "train.gradient_checkpointing=true"],
        ["method=shadow"],  # some of its parameters get no gradient, and so no optimizer state
        ["method=zero_shot"],
    ],
)
def test_a_pass_that_is_looked_at_is_the_same_pass_and_its_peaks_are_explained(overrides: list[str]) -> None:
    if "adamw8bit" in overrides[-1] and installed("bitsandbytes") is None:
        pytest.skip("needs bitsandbytes")
    a = adapted(overrides)
    if a.settings.train.gradient_checkpointing:
        enable_checkpointing(a.model)
    base = [(name, each) for name, each in base_tensors(a.model) if not each.requires_grad]
    weights = {name: each.detach().clone() for name, each in base_tensors(a.model)}
    given = (a.settings, base, a.forward, run_batches(a.task, a.forward.dtype))
    alone = run_pass(*given)
    view = device_view("cpu", [each for _, each in base])
    looked_at = run_pass(*given, view=view)
    assert looked_at == alone
    assert all(torch.equal(each, weights[name]) for name, each in base_tensors(a.model))
    found = view.result(looked_at)
    assert set(found.by_phase) == set(alone) - {"load"}
    assert found.peak_bytes == max(each.bytes for each in found.by_phase.values())
    for phase, peak in found.by_phase.items():
        assert abs(peak.residual_bytes) < 0.05 * peak.bytes, phase
        # At the process's peak no more than at the ledger's, but for state that was made without being needed.
        assert peak.parts["tensors"] <= (1.02 if "method=shadow" in overrides else 1) * alone[phase].bytes


def test_a_system_that_does_not_tell_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(NotMeasurable, match="glibc"):
        ProcessView([])
