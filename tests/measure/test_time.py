"""Times, floating-point operations and a noisy machine: against closed forms, torch's counter, psutil and /proc."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch.utils import benchmark
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.overhead import overhead
from harness.errors import RunEnded
from harness.host.environment import gpu_name
from harness.measure.flops import FlopCounter, gemm_peak
from harness.measure.noise import Clocks, Surroundings, clocks, machine
from harness.measure.stopwatch import Stopwatch
from harness.measure.throughput import throughput, timing_reasons
from harness.places import ROOT
from harness.prepare.batch import Batch, collate
from harness.results.record import Record
from harness.results.sections import STEP_PARTS
from harness.training.precision import enable_checkpointing
from harness.training.trainer import Trainer, TrainingData
from tests.support.tiny import Adapted, adapted

# Floating-point operations


def batch_of(a: Adapted) -> Batch:
    return collate(next(a.task.batches(4, 0)), a.task.pad)


def counted(a: Adapted, counter: Any) -> Any:
    """The counter, having seen one training step."""
    batch = batch_of(a)
    a.model.train()
    with counter:
        a.forward.loss_sum(batch).backward()
    return counter


def expected(a: Adapted, rank: int | None) -> int:
    """Forward and backward passes of the two-layer Llama, eager attention: with LoRA of a rank on all linear layers, or
    all of it trained."""
    batch, config = batch_of(a), a.model.config
    rows, length = batch.ids.shape
    positions, heads = rows * length, config.num_attention_heads
    width = config.hidden_size // heads
    size, inner, keys = config.hidden_size, config.intermediate_size, config.num_key_value_heads * width
    attention_inputs = [(size, size), (size, keys), (size, keys)]
    others = [(size, size), (size, inner), (size, inner), (inner, size)]
    layers = config.num_hidden_layers
    # Scores and their product with the values; both operands of both need a gradient.
    total = 3 * layers * 2 * (2 * rows * heads * length * length * width)
    head = 2 * size * config.vocab_size * len(batch.targets)
    products = sum(2 * i * o * positions for i, o in (*attention_inputs, *others)) * layers
    if rank is None:
        return total + 3 * (head + products)
    # A frozen product needs the gradient of its input, which the first layer's q, k and v have not: embeddings are
    # frozen too.
    low = sum(2 * rank * (i + o) * positions for i, o in (*attention_inputs, *others)) * layers
    first = sum(2 * i * o * positions + 2 * rank * i * positions for i, o in attention_inputs)
    return total + 2 * (head + products) + 3 * low - first


@pytest.mark.parametrize(
    ("overrides", "rank"), [(["method=full"], None), (["method=lora", "method.rank=3", "targets=all_linear"], 3)]
)
def test_counts_equal_the_closed_form(overrides: list[str], rank: int | None) -> None:
    a = adapted([*overrides, "model.attention=eager"])
    assert counted(a, FlopCounter()).total == expected(a, rank)


def test_counts_equal_those_of_torchs_own_counter() -> None:
    """PEFT's LoRA with dropout, since torch's counter passes over the product that is added in place."""
    a = adapted(["method=lora", "method.dropout=0.1"])
    assert counted(a, FlopCounter()).total == counted(a, FlopCounterMode(display=False)).get_total_flops()


def test_sdpa_counts_one_product_more_than_eager() -> None:
    """Its backward pass computes the scores anew."""
    eager, sdpa = (adapted(["method=full", f"model.attention={kind}"]) for kind in ("eager", "sdpa"))
    rows, length = batch_of(sdpa).ids.shape
    scores = 2 * rows * length * length * sdpa.model.config.hidden_size * sdpa.model.config.num_hidden_layers
    assert counted(sdpa, FlopCounter()).total - counted(eager, FlopCounter()).total == scores


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_quantized_products_count_as_plain_ones(kind: str, tmp_path: Path) -> None:
    plain = adapted(["method=lora", "targets=all_linear"])
    base = adapted(["method=zero_shot"])
    base.model.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    given = ["model=path", f"model.path={tmp_path}", f"quantization={kind}", "method=lora", "targets=all_linear"]
    assert counted(adapted(given), FlopCounter()).total == counted(plain, FlopCounter()).total


def test_checkpointing_computes_the_blocks_again() -> None:
    """But for the last product of each, whose result the backward pass does not need."""
    plain, again = adapted(["method=full"]), adapted(["method=full"])
    enable_checkpointing(again.model)
    batch, config = batch_of(plain), plain.model.config
    with FlopCounter() as forward, torch.no_grad():
        plain.forward.loss_sum(batch)
    head = 2 * config.hidden_size * config.vocab_size * len(batch.targets)
    last = 2 * config.intermediate_size * config.hidden_size * batch.ids.numel() * config.num_hidden_layers
    more = counted(again, FlopCounter()).total - counted(plain, FlopCounter()).total
    assert more == forward.total - head - last


def test_the_peak_is_that_of_an_independent_timer() -> None:
    """Within a factor that finds a wrong unit and no noise."""
    a = torch.ones(1024, 1024)
    timed = benchmark.Timer("torch.mm(a, a)", globals={"torch": torch, "a": a}).timeit(10).median
    assert 1 / 5 < gemm_peak("cpu", torch.float32) / (2 * 1024**3 / timed) < 5


# Times


def trainer(a: Adapted, folder: Path) -> Trainer:
    train = a.settings.train
    batches = a.task.batches(train.batch_size, a.settings.seed)
    checkpoint = folder / "checkpoint.pt"
    return Trainer(
        a.forward, a.settings.method, train, TrainingData(batches, a.task.pad, a.task.validation), checkpoint, False
    )


def test_a_part_is_what_passed_since_the_one_before() -> None:
    watch = Stopwatch(torch.device("cpu"))
    time.sleep(0.02)
    watch.lap("a")
    watch.lap("b")
    time.sleep(0.03)
    watch.lap("a")
    found = watch.seconds()
    assert found["a_seconds"] >= 0.05
    assert 0 < found["a_seconds"] + found["b_seconds"] <= found["seconds"]


ON_A_GPU = """
import torch
from harness.measure.flops import gemm_peak
from harness.measure.stopwatch import Stopwatch

a = torch.ones(4096, 4096, device="cuda")
a @ a
watch = Stopwatch(a.device)
for _ in range(20):
    a @ a
watch.lap("products")
a + a
watch.lap("sum")
found = watch.seconds()
assert found["sum_seconds"] < found["products_seconds"]
assert found["products_seconds"] + found["sum_seconds"] <= found["seconds"]
assert 1 / 5 < gemm_peak("cuda", torch.float32) / (20 * 2 * 4096**3 / found["products_seconds"]) < 5
"""


@pytest.mark.gpu
@pytest.mark.skipif(gpu_name() is None, reason="there is no CUDA device, or torch is a CPU build")
def test_parts_on_a_gpu_are_those_of_the_device() -> None:
    """Products are queued in no time, and take their time on the device. In a process of its own, since that of other
    tests must not touch the device."""
    subprocess.run([sys.executable, "-c", ON_A_GPU], cwd=ROOT, check=True)


def test_training_is_the_same_whether_operations_are_counted_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_counts = trainer(adapted(["method=lora"]), tmp_path).run(lambda: None, lambda line: None).curve
    monkeypatch.setattr("harness.training.trainer.WARM_UP", 0)
    without = trainer(adapted(["method=lora"]), tmp_path).run(lambda: None, lambda line: None).curve
    assert [line["loss"] for line in with_counts] == [line["loss"] for line in without]
    assert [("flops" in line) for line in with_counts] == [True] * 3 + [False] * 5
    assert not any("flops" in line for line in without)
    for line in with_counts:
        assert sum(line[f"{part}_seconds"] for part in ("forward", "backward", "step")) <= line["seconds"]
        assert line["data_seconds"] > 0
        assert line["logging_seconds"] > 0


def test_a_checkpoint_of_before_there_were_parts_goes_on(tmp_path: Path) -> None:
    stopped = trainer(adapted(["method=lora"]), tmp_path)
    with pytest.raises(RunEnded):
        stopped.run(lambda: RunEnded("interrupted", "") if stopped.state.step == 5 else None, lambda line: None)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    kept = ("step", "loss", "lr", "grad_norm", "tokens", "samples", "seconds")
    content["state"]["curve"] = [{name: line[name] for name in kept} for line in content["state"]["curve"]]
    torch.save(content, tmp_path / "checkpoint.pt")
    going_on = trainer(adapted(["method=lora"]), tmp_path)
    assert going_on.resume() is None
    curve = going_on.run(lambda: None, lambda line: None).curve
    speed = throughput(curve, 3, 1e12)
    assert speed is not None
    assert speed.timed_steps == 5
    assert speed.shares is not None
    assert sum(speed.shares.values()) == pytest.approx(1)
    assert speed.flops_per_token is None
    quiet = Clocks(0.0, 0.0, 0.0, 0.0)
    reasons = timing_reasons(speed, machine(quiet, quiet, 0.0, 1.0, 1.0), 3)
    assert "earlier version" in reasons["throughput.utilization"]
    assert "throughput.shares" not in reasons


def test_throughput_leaves_out_the_warm_up() -> None:
    rng = np.random.default_rng(0)
    seconds = rng.uniform(1, 2, 23)
    parts = rng.dirichlet(np.ones(5), 23) * seconds[:, None]
    curve: list[dict[str, float]] = [
        {"step": i + 1, "tokens": 100 + i, "samples": 8, "seconds": float(s)}
        | {f"{name}_seconds": float(p) for name, p in zip(STEP_PARTS, row, strict=True)}
        for i, (s, row) in enumerate(zip(seconds, parts, strict=True))
    ]
    for line, flops in zip(curve, (1000, 2000, 3000), strict=False):
        line["flops"] = flops
    found = throughput(curve, 3, 50.0)
    assert found is not None
    assert found.step_seconds_p50 == pytest.approx(np.percentile(seconds[3:], 50))
    assert found.step_seconds_p95 == pytest.approx(np.percentile(seconds[3:], 95))
    assert found.tokens_per_second == pytest.approx(statistics.median((103 + i) / s for i, s in enumerate(seconds[3:])))
    assert found.shares == pytest.approx(dict(zip(STEP_PARTS, parts[3:].sum(0) / parts[3:].sum(), strict=True)))
    assert found.flops_per_token == pytest.approx(6000 / 303)
    assert found.utilization == pytest.approx(6000 / 303 * found.tokens_per_second / 50)
    assert throughput(curve[:5], 3, 50.0) is None


def test_a_record_says_where_the_time_went(run_point: Callable[..., Record]) -> None:
    record = run_point("method=lora", "train.steps=8")
    speed, found = record.throughput, record.machine
    assert speed is not None
    assert found is not None
    assert set(speed.shares or ()) == set(STEP_PARTS)
    assert speed.flops_per_token is not None
    assert speed.flops_per_second == pytest.approx(speed.flops_per_token * speed.tokens_per_second)
    assert speed.gemm_flops_per_second == max(found.gemm_flops_before, found.gemm_flops_after)
    assert 0 < (speed.utilization or 0) < 1
    # A token costs at least a forward pass, and the gradient of its input, through each of the model's matrices.
    assert record.parameters is not None
    assert speed.flops_per_token > 4 * (record.parameters.total - record.parameters.added) / 2
    for name in ("steal", "others", "load"):
        assert (getattr(found, name) is None) == (f"machine.{name}" in record.null_reasons)


def test_overhead_is_what_is_added_to_the_bare_time() -> None:
    """The one that goes second takes a tenth longer, which cancels."""
    bare = np.random.default_rng(0).uniform(1, 2, 20).repeat(2)
    second = np.tile([1.0, 1.1], 20)
    found = overhead(1.02 * bare * second, bare * second[::-1])
    for kind in ("median", "total"):
        assert [found[kind], *found[f"{kind}_interval"]] == pytest.approx([0.02] * 3)


# A noisy machine


def test_shares_of_the_cores() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    start = Clocks(wall=100.0, own=5.0, busy=50.0, stolen=1.0)
    end = Clocks(wall=110.0, own=5.0 + 8.0 * cores, busy=50.0 + 9.0 * cores, stolen=1.0 + 0.5 * cores)
    found = machine(start, end, 0.0, 4e9, 3e9)
    assert found.others == pytest.approx(0.1)
    assert found.steal == pytest.approx(0.05)
    assert found.drift == pytest.approx(-0.25)
    assert found.noisy == [
        "other guests of the host took 5.0% of the cores",
        "other processes took 10% of the cores",
        "the peak of matrix products changed by -25% during training",
    ]
    crowd = 2.0 * (os.cpu_count() or 1)
    (line,) = machine(start, Clocks(110.0, 5.0, 50.0, 1.0), crowd, 4e9, 4e9).noisy
    assert line.startswith(f"{crowd:.1f} tasks on ")


def test_what_is_too_short_or_not_told_is_null() -> None:
    assert timing_reasons(None, None, 3) == {"throughput": "nothing is trained", "machine": "nothing is trained"}
    start = Clocks(0.0, 0.0, 0.0, 0.0)
    short = machine(start, Clocks(0.5, 0.0, 0.5, 0.5), None, 1.0, 1.0)
    assert (short.others, short.steal, short.noisy) == (None, None, [])
    assert timing_reasons(None, short, 3)["machine.others"] == "training took less than 1 s"
    untold = machine(Clocks(0.0, 0.0, None, None), Clocks(5.0, 0.0, None, None), None, 1.0, 1.0)
    assert timing_reasons(None, untold, 3)["machine.steal"] == "this system does not tell"
    assert timing_reasons(None, untold, 3)["machine.load"] == "this system does not tell"


needs_stat = pytest.mark.skipif(clocks().busy is None, reason="this system has no /proc/stat that moves")


@needs_stat
def test_the_clocks_are_psutils() -> None:
    cores = sorted(os.sched_getaffinity(0))

    def told() -> tuple[float, float]:
        each = psutil.cpu_times(percpu=True)
        mine = [each[core] for core in cores]
        busy = sum(c.user + c.nice + c.system + c.irq + c.softirq for c in mine)
        return busy, sum(psutil.Process().cpu_times()[:2])

    before, found, after = told(), clocks(), told()
    assert found.busy is not None
    assert before[0] - 0.01 <= found.busy <= after[0] + 0.01
    assert before[1] - 0.02 <= found.own <= after[1] + 0.02


@needs_stat
def test_a_process_that_burns_the_cores_is_noticed() -> None:
    watch = Surroundings("cpu", torch.float32)
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        while (burned := sum(psutil.Process(burner.pid).cpu_times()[:2])) < 1.5:
            time.sleep(0.1)
        found = watch.ended()
    finally:
        burner.kill()
        burner.wait()
    assert found.others is not None
    assert found.others * found.seconds * found.cores >= burned - 0.1
    assert any("other processes" in line for line in found.noisy)
