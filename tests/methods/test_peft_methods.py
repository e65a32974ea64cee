"""Methods of PEFT that need more than a configuration: what sets them apart from plain LoRA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from harness.commands.methods_page import MEASURED, page
from harness.errors import UserError
from harness.methods import Kind, Site
from harness.methods.adalora import AdaLora
from harness.methods.tuner import Tuner
from harness.models import parameters
from harness.places import CONF
from harness.prepare.batch import collate
from tests.support.tiny import adapted, settings
from tests.support.trainers import never, quiet, trainer


def factor(model: Any, side: str) -> torch.Tensor:
    """A or B of the first block's up projection."""
    layer = model.get_base_model().model.layers[0].mlp.up_proj
    return getattr(layer, f"lora_{side}")["default"].weight.detach()


@pytest.mark.parametrize("name", ["eva", "corda", "lora_ga", "loftq"])
def test_a_start_of_its_own_is_not_that_of_lora(name: str) -> None:
    """Other data give another start, where a method looks at data; plain LoRA starts with B at zero."""
    plain, own, other = (adapted([f"method={n}", f"seed={s}"]) for n, s in (("lora", 0), (name, 0), (name, 1)))
    a, b = factor(own.model, "A"), factor(own.model, "B")
    assert not torch.equal(a, factor(plain.model, "A"))
    if name == "eva":  # orthonormal rows: singular vectors of the inputs
        assert not b.any()
        torch.testing.assert_close(a @ a.T, torch.eye(len(a)), atol=1e-4, rtol=0)
    else:
        assert b.any()
    looks_at_data = not torch.equal(a, factor(other.model, "A"))
    assert looks_at_data == (name != "loftq")


def test_pissa_takes_out_the_first_singular_components() -> None:
    """What is left of the weight has the singular values from the ninth on."""
    plain, own = adapted(["method=zero_shot"]), adapted(["method=pissa"])
    before = torch.linalg.svdvals(plain.model.model.layers[0].mlp.up_proj.weight)
    after = torch.linalg.svdvals(own.model.get_base_model().model.layers[0].mlp.up_proj.base_layer.weight)
    torch.testing.assert_close(after[: len(before) - 8], before[8:], atol=1e-5, rtol=0)


def test_adalora_lowers_the_rank_to_its_target(tmp_path: Path) -> None:
    """Of 12 singular values a layer 8 are left in the mean, and layers differ in how many they keep."""
    a = adapted(["method=adalora", "train.steps=16"])
    trainer(a, tmp_path).run(never, quiet)
    left = [int((p != 0).sum()) for name, p in a.model.named_parameters() if "lora_E" in name]
    assert sum(left) == 8 * len(left)
    assert len(set(left)) > 1


@pytest.mark.parametrize("given", ["method.first_steps=10", "method.last_steps=16"])
def test_a_budget_longer_than_the_run_is_refused(given: str) -> None:
    with pytest.raises(UserError, match=r"leave none of train\.steps=16"):
        settings("method=adalora", "train.steps=16", given)


def test_adalora_penalty_is_that_of_peft() -> None:
    """PEFT adds it to the loss that it computes from labels, if its own weight is set."""
    a = adapted(["method=adalora"])
    method = a.settings.method
    assert isinstance(method, AdaLora)
    batch = collate(next(a.task.batches(4, 0)), a.task.pad).inputs()
    with torch.no_grad():
        without = a.model(**batch).loss.item()
        a.model.peft_config["default"].orth_reg_weight = method.orthogonality
        assert a.model(**batch).loss.item() - without == pytest.approx(method.penalty(a.model).item(), abs=1e-6)


def test_lora_plus_is_faster_in_b() -> None:
    a = adapted(["method=lora_plus"])
    slow, fast = a.settings.method.parameter_groups(a.model)
    assert fast["lr"] == 16 * slow["lr"]
    names = {id(p): name for name, p in a.model.named_parameters() if p.requires_grad}
    assert all("lora_A" in names.pop(id(p)) for p in slow["params"])
    assert all("lora_B" in names.pop(id(p)) for p in fast["params"])
    assert not names


def test_an_option_that_peft_does_not_have_is_named() -> None:
    content = yaml.safe_load((CONF / "method" / "vera.yaml").read_text())
    content = {k: v for k, v in content.items() if k != "_target_"} | {"options": {"r": 256, "d_initail": 0.1}}
    kind: Kind = "causal"
    with pytest.raises(UserError, match=r"method\.options\.d_initail: .*d_initial"):
        Tuner.model_validate(content).config(None, Site(None, {"q": ["q_proj"]}, kind, 1, lambda: iter(())))


def test_other_tuners_take_targets_and_rank() -> None:
    """An OFT block of 32 has 32 * 31 / 2 parameters, and q and v read 64 units in each of two layers."""
    a = adapted(["method=oft", "targets=attention_qv"])
    assert parameters.trainable(a.model) == 2 * 2 * (64 // 32) * (32 * 31 // 2)
    chosen = settings("method=hra", "method.rank=2").method
    assert chosen.label() == "hra r=2"
    assert (
        parameters.trainable(adapted(["method=hra", "method.rank=2", "targets=attention_qv"]).model) == 2 * 2 * 2 * 64
    )


def test_the_page_is_what_the_generator_prints() -> None:
    assert (MEASURED.parent / "methods.md").read_text() == page()
