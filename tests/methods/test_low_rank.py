"""LoRA's product in place: the same values and gradients as PEFT's own way."""

from __future__ import annotations

import pytest
import torch
from peft.tuners.lora import Linear

from harness.methods.low_rank import AddProduct, InPlace
from harness.prepare.batch import collate
from tests.support.tiny import adapted


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    shapes = [(2, 3, 5), (2, 3, 4), (2, 4), (5, 2)]
    result, x, a, b = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes)

    def added(result: torch.Tensor, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = AddProduct.apply(result.clone(), x, a, b, 0.7)  # type: ignore[no-untyped-call]
        return out

    assert torch.autograd.gradcheck(added, (result, x, a, b))
    torch.testing.assert_close(added(result, x, a, b), result + 0.7 * x @ a.T @ b.T)


def test_beside_bf16_only_rounding_differs() -> None:
    """Values and gradients of fp32 factors on bf16 activations are those of double precision, to bf16's 8 bits."""
    torch.manual_seed(0)
    x, result = torch.randn(2, 30, 64).bfloat16(), torch.randn(2, 30, 96).bfloat16()
    a, b = torch.randn(8, 64) / 8, torch.randn(96, 8) / 3
    upstream = torch.randn(2, 30, 96).bfloat16()
    found = []
    for dtype in (None, torch.float64):
        given = [each.clone() if dtype is None else each.to(dtype) for each in (result, x, a, b)]
        leaves = [each.requires_grad_() for each in given]
        out = AddProduct.apply(leaves[0].clone(), *leaves[1:], 0.7)  # type: ignore[no-untyped-call]
        found.append([out, *torch.autograd.grad(out, leaves, upstream.to(out.dtype))])
    for got, expected, dtype in zip(*found, [torch.bfloat16] * 3 + [torch.float32] * 2, strict=True):
        assert got.dtype == dtype
        assert (got - expected).abs().max() < 2**-7 * expected.abs().max()


@pytest.mark.parametrize(("dtype", "rounding"), [("fp32", 1e-6), ("bf16", 0.01)])
def test_training_is_that_of_peft(dtype: str, rounding: float) -> None:
    a = adapted(["method=lora", "method.alpha=16", f"dtype={dtype}"])
    layers = [module for module in a.model.modules() if isinstance(module, Linear)]
    assert layers
    assert all(isinstance(layer.lora_variant["default"], InPlace) for layer in layers)
    for layer in layers:
        torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.02)
    batch = collate(next(a.task.batches(4, 0)), a.task.pad)

    def gradients() -> tuple[float, list[torch.Tensor]]:
        a.model.zero_grad()
        loss = a.forward.loss_sum(batch)
        loss.backward()
        return loss.item(), [p.grad.clone() for p in a.model.parameters() if p.grad is not None]

    ours = gradients()
    for layer in layers:
        layer.lora_variant.clear()
        layer.cast_input_dtype_enabled = True
    theirs = gradients()
    assert ours[0] == pytest.approx(theirs[0], rel=rounding)
    for got, expected in zip(ours[1], theirs[1], strict=True):
        if dtype == "fp32":
            # Sums over some 1,300 tokens in another order: the root of that many roundings of the largest.
            largest = expected.abs().max().item()
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1300**0.5 * torch.finfo().eps * largest)
        else:
            assert torch.nn.functional.cosine_similarity(got.flatten(), expected.flatten(), dim=0) > 0.999


def test_merging_is_that_of_peft() -> None:
    weights = []
    for clear in (False, True):
        a = adapted(["method=lora"])
        for layer in (module for module in a.model.modules() if isinstance(module, Linear)):
            torch.nn.init.ones_(layer.lora_B["default"].weight)
            if clear:
                layer.lora_variant.clear()
        weights.append(a.settings.method.merge(a.model).state_dict())
    for name, expected in weights[1].items():
        assert torch.equal(weights[0][name], expected), name


def test_dropout_is_left_to_peft() -> None:
    a = adapted(["method=lora", "method.dropout=0.1"])
    assert not any(module.lora_variant for module in a.model.modules() if isinstance(module, Linear))
