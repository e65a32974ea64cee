"""The memory ledger against closed forms, and what its pass leaves behind: nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from harness.evaluation.answers import write_answers
from harness.measure.ledger import Ledger, Moment
from harness.memory.ledger_pass import base_tensors, run_pass
from harness.memory.longest_batches import Batches, run_batches
from harness.prepare.base_model import LoadedModel
from harness.results.sections import Phase
from harness.training.optimizer import trainable
from harness.training.precision import enable_checkpointing
from tests.support.closed_forms import lora, shapes_of
from tests.support.tiny import Adapted, adapted


def passed(a: Adapted, base: list[tuple[str, torch.Tensor]], batches: Batches | None = None) -> dict[Phase, Moment]:
    chosen = batches or run_batches(a.task, a.forward.dtype)
    return run_pass(a.settings, base, a.forward, chosen)


def base_of(a: Adapted) -> list[tuple[str, torch.Tensor]]:
    """The base's tensors of a PEFT model."""
    return [(name, each) for name, each in base_tensors(a.model) if "lora_" not in name]


def step_of(model: nn.Module, x: torch.Tensor, block: int = 1) -> dict[Phase, Moment]:
    ledger = Ledger("cpu", block, model)
    with ledger:
        ledger.claim("base_weights", model.named_parameters())
        with ledger.phase("forward"):
            loss = model(x).sum()
        with ledger.phase("backward"):
            loss.backward()
            ledger.claim("gradients", [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None])
    return ledger.peaks(3)


def test_a_linear_layer_by_hand() -> None:
    x = torch.ones(7, 10)
    peaks = step_of(nn.Linear(10, 20, bias=False), x)
    # x was there before and is nobody's; y = x W^T [7, 20] and its sum are made.
    assert peaks["forward"].by_owner["base_weights"] == 4 * 200
    assert peaks["forward"].bytes == 4 * (200 + 7 * 20 + 1)
    assert peaks["backward"].by_owner["gradients"] == 4 * 200
    assert peaks["forward"].largest[0].name == "weight"


def test_every_storage_is_rounded_up_as_the_device_does() -> None:
    peaks = step_of(nn.Linear(10, 20, bias=False), torch.ones(7, 10), block=512)
    # 800, 560 and 4 bytes, in blocks of 512
    assert peaks["forward"].bytes == 1024 + 1024 + 512


def test_views_and_tied_weights_count_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
            self.two.weight = self.one.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            views: torch.Tensor = self.two(self.one(x)).t().reshape(8, -1)[:4]
            return views

    assert step_of(Tied(), torch.ones(3, 8))["forward"].by_owner["base_weights"] == 4 * 64


def test_static_parts_equal_closed_forms() -> None:
    a = adapted(["method=lora"])
    peaks = passed(a, base_of(a))
    shapes = shapes_of(a.model.config, a.task)
    count, tensors = lora(8)(shapes), len(trainable(a.model))
    h, layers = shapes.hidden, shapes.layers
    weights = shapes.vocabulary * h + sum(i * o for i, o in shapes.layer()) * layers + (2 * layers + 1) * h
    frequencies = 2 * h // 4 // 2  # of rotary positions, a pair a head's two sizes; kept twice
    assert peaks["load"].by_owner["base_weights"] == 4 * (weights + frequencies)
    assert peaks["load"].by_owner["adapter"] == 4 * count
    assert peaks["step"].by_owner["gradients"] == 4 * count
    assert peaks["step"].by_owner["optimizer_state"] == 4 * (2 * count + tensors)  # and a step number each
    # It is there from the first forward pass on, as from the second step of a training.
    assert peaks["forward"].by_owner["optimizer_state"] == 4 * (2 * count + tensors)
    assert peaks["generate"].by_owner["optimizer_state"] == peaks["generate"].by_owner["gradients"] == 0


def test_two_passes_give_the_same_bytes_and_leave_nothing() -> None:
    a = adapted(["method=lora", "method.dropout=0.1", "train.accumulation=2"])
    before = {name: tensor.detach().clone() for name, tensor in base_tensors(a.model)}
    state = torch.get_rng_state()
    first, again = (passed(a, base_of(a)) for _ in range(2))
    assert first == again
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in base_tensors(a.model))
    assert all(p.grad is None for p in a.model.parameters())
    assert first["forward"].by_owner["gradients"]  # the step has a forward pass before this one


def test_the_cache_is_that_of_a_real_generation() -> None:
    a = adapted(["method=lora", "eval.max_new_tokens=12"])
    batches = run_batches(a.task, a.forward.dtype)
    short = passed(a, base_of(a), batches)["generate"]
    assert batches.prompts is not None
    rows, length = batches.prompts[0].shape
    config = a.model.config
    size = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    # the last token is not read again
    assert short.by_owner["kv_cache"] <= 4 * 2 * config.num_hidden_layers * rows * (length + 12 - 1) * size
    prompts = [[int(token) for token in row if token != a.task.pad] for row in batches.prompts[0]]
    ledger = Ledger("cpu", 1, a.model)
    with ledger:
        ledger.claim("base_weights", base_tensors(a.model))
        with ledger.phase("generate"):
            write_answers(a.settings.method.generate, LoadedModel(a.model, a.tokenizer), prompts, a.settings.eval)
    whole = ledger.peaks(0)["generate"].bytes
    assert short.bytes == pytest.approx(whole, rel=0.02)


def losses(a: Adapted) -> list[Any]:
    batch = run_batches(a.task, a.forward.dtype).training[-1]
    a.model.train()
    a.forward.loss_sum(batch).backward()
    return [p.grad.clone() for p in trainable(a.model).values() if p.grad is not None]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_gradient_checkpointing_saves_activations_and_changes_no_gradient(method: str) -> None:
    plain, spare = adapted([f"method={method}"]), adapted([f"method={method}"])
    enable_checkpointing(spare.model)
    many, few = (passed(a, base_of(a))["backward"].by_owner["activations"] for a in (plain, spare))
    assert few < 0.75 * many
    assert all(torch.equal(one, other) for one, other in zip(losses(plain), losses(spare), strict=True))


def test_a_sparse_tensor_holds_its_indices_and_values() -> None:
    ledger = Ledger("cpu", 1, torch.nn.Identity())
    with ledger, ledger.phase("forward"):
        sparse = torch.eye(8).to_sparse()  # 8 values of 4 bytes, 2 · 8 indices of 8
        product = sparse @ torch.ones(8, 1)
    peak = ledger.peaks(10)["forward"]
    assert {(held.bytes, held.shape) for held in peak.largest} >= {(128, (2, 8)), (32, (8,))}
    assert product.numel() == 8
