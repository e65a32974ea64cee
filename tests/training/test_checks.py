"""A run finds by itself what was silently not trained, or not saved as it was scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.errors import RunEnded
from harness.prepare.base_model import DTYPES, load_base
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.forward import LabelForward
from harness.results.record import Record
from harness.results.sections import Checks
from harness.run.self_check import SelfCheck, faults
from harness.training.precision import to_master_precision
from tests.support.tiny import METHODS, Adapted, settings
from tests.support.trainers import never, quiet, trainer

Change = Callable[[Any], None]


def unchanged(_: Any) -> None:
    """What nothing is done to."""


def checked(
    folder: Path, *overrides: str, adapted: Change = unchanged, saved: Callable[[Path], None] = unchanged
) -> tuple[Checks | None, list[str]]:
    """What a tiny run finds of itself, and what of it is wrong. `adapted`: done to the model with its method; `saved`:
    done to what was saved."""
    chosen = settings(*overrides)
    model, tokenizer = load_base(chosen)
    task = EncodedTask(chosen, (model, tokenizer))
    torch.manual_seed(chosen.seed)
    site = task.site()
    check = SelfCheck(chosen, model, site)
    model = chosen.method.apply(model, site)
    to_master_precision(model)
    adapted(model)
    a = Adapted(chosen, model, tokenizer, task, LabelForward(model, DTYPES[chosen.precision]))
    if chosen.method.trains:
        check.start(model)
        check.trained(model, trainer(a, folder).run(never, quiet))
        chosen.method.save(model, folder / "adapter")
        check.saved(model, a.forward, task.validation[0])
        saved(folder / "adapter")
        check.reload(folder / "adapter")
    found = check.section()
    return found, faults(found, chosen.method.facts) if found else []


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_all_that_it_says_and_saves_it(method: str, tmp_path: Path) -> None:
    architecture = settings(f"method={method}").method.facts.architecture
    given = [f"method={method}", f"model.architecture={architecture}", "model.context=4096", "train.steps=5"]
    found, wrong = checked(tmp_path, *given)
    assert wrong == []
    assert (found is None) == (not settings(f"method={method}").method.trains)
    if found is not None:
        assert 0 < found.supervised_share < 1
        assert all(asked == trained > 0 for asked, trained in found.modules.values())


LORA = ("method=lora", "train.steps=5", "targets.roles=[q,v]")


def dead_layer(model: Any) -> None:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and ".layers.1." in name:
            parameter.register_hook(torch.zeros_like)


def frozen_module(model: Any) -> None:
    for name, parameter in model.named_parameters():
        if "layers.0.self_attn.v_proj" in name:
            parameter.requires_grad = False


def test_a_layer_without_gradients_is_named(tmp_path: Path) -> None:
    found, wrong = checked(tmp_path, *LORA, adapted=dead_layer)
    assert found is not None
    assert found.without_gradient is not None
    assert len(found.without_gradient) == 4
    assert all(".layers.1." in name for name in found.without_gradient)
    (line,) = [each for each in wrong if "no gradient" in each]
    assert line.startswith("4 of 8 trained tensors had no gradient in the first 3 steps: ")
    assert "layers.1.self_attn.q_proj" in line


def test_a_requested_module_that_is_not_trained_is_named(tmp_path: Path) -> None:
    found, wrong = checked(tmp_path, *LORA, adapted=frozen_module)
    assert found is not None
    assert found.modules == {"q_proj": (2, 2), "v_proj": (2, 1)}
    assert wrong == ["requested modules in which nothing is trained: v_proj (1 of 2) are"]


def test_what_does_not_change_is_named(tmp_path: Path) -> None:
    """Gradients that are so small that, at the optimizer's step, nothing is left of them."""

    def tiny_steps(model: Any) -> None:
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "layers.0.self_attn.q_proj.lora_A" in name:
                parameter.register_hook(lambda grad: grad * 1e-30)

    found, wrong = checked(tmp_path, *LORA, "train.weight_decay=0", adapted=tiny_steps)
    assert found is not None
    (name,) = found.unchanged
    assert "layers.0.self_attn.q_proj.lora_A" in name
    assert any(line.startswith("1 of 8 trained tensors did not change in training: ") for line in wrong)


def test_a_model_of_which_nothing_is_trained_ends_the_run(tmp_path: Path) -> None:
    def dead(model: Any) -> None:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.register_hook(torch.zeros_like)

    with pytest.raises(RunEnded, match="none of the 8 trained tensors had a gradient in the first 3 steps"):
        checked(tmp_path, *LORA, adapted=dead)
    with pytest.raises(
        RunEnded, match="training changed none of the 20 tensors"
    ):  # next to which the steps are nothing
        checked(tmp_path, "method=full", "method.lr=1e-35", "train.weight_decay=0", "train.steps=3")


def test_a_file_that_is_not_the_trained_adapter_is_named(tmp_path: Path) -> None:
    def edited(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        tensors = load_file(path)
        first = next(iter(tensors))
        save_file(tensors | {first: tensors[first] + 1}, path)

    found, wrong = checked(tmp_path, *LORA, saved=edited)
    assert found is not None
    assert found.saved_otherwise is not None
    assert len(found.saved_otherwise) == 1
    assert found.reloads is False
    assert len(wrong) == 2


def test_an_adapter_that_cannot_be_loaded_is_a_warning(tmp_path: Path) -> None:
    found, (line,) = checked(tmp_path, *LORA, saved=lambda folder: (folder / "adapter_config.json").write_text("{"))
    assert found is not None
    assert found.load_error
    assert found.reload_difference is None
    assert line.startswith("the saved adapter cannot be loaded (")


def test_a_setting_that_is_not_saved_is_found_by_the_logits(tmp_path: Path) -> None:
    """The file is the trained one, but the scaling is another."""

    def edited(folder: Path) -> None:
        path = folder / "adapter_config.json"
        config = json.loads(path.read_text())
        path.write_text(json.dumps(config | {"lora_alpha": 2 * config["lora_alpha"]}))

    found, wrong = checked(tmp_path, *LORA, saved=edited)
    assert found is not None
    assert found.saved_otherwise == []
    assert found.reload_difference
    (line,) = wrong
    assert "gives other logits" in line


def test_a_record_holds_what_the_run_found(run_point: Callable[..., Record]) -> None:
    record = run_point("method=lora")
    assert record.status == "ok", record.cause
    assert record.checks is not None
    assert record.checks.reloads is True
    assert record.ended is not None
    assert record.warnings == []
    base = run_point("method=zero_shot")
    assert base.checks is None
    assert base.null_reasons["checks"] == "nothing is trained"
    assert base.ended is not None
    short = run_point("method=full", "train.steps=2", "train.warmup_steps=0")
    assert short.checks is not None
    assert short.checks.without_gradient is None
    assert "3 steps" in short.null_reasons["checks.without_gradient"]
    assert "not saved" in short.null_reasons["checks.reload_difference"]
