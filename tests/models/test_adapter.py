"""A model with an adapter folded in as a base (`model=adapter`): it answers as the two together, and what cannot be
folded in is a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from harness.errors import UserError
from harness.models import parameters, save_pretrained
from harness.models.adapter import AdapterModel
from tests.support.blocks import base, logits
from tests.support.made_models import byte_tokenizer, saved
from tests.support.tiny import adapted
from tests.support.trainers import never, quiet, trainer

SUMS = 14 * 2**-24 * 4 * 64
"""fp32's roundoff times the longest sum, in two blocks of seven matrices."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(tmp_path / "model", byte_tokenizer("<s>"))


def with_adapter(model: Path, folder: Path, config: Any) -> Any:
    """A model with an adapter by plain PEFT, which is kept in a folder."""
    made = get_peft_model(AutoModelForCausalLM.from_pretrained(model, attn_implementation="eager"), config)
    made.save_pretrained(folder)
    return made


def source(adapter: Path | str, **more: Any) -> AdapterModel:
    return AdapterModel(name="both", adapter=str(adapter), **more)


def loaded(adapter: Path, **more: Any) -> Any:
    return source(adapter, **more).load(torch.float32, "cpu", None)[0]


def test_it_answers_as_plain_peft_does(model: Path, tmp_path: Path) -> None:
    made = with_adapter(model, tmp_path / "adapter", LoraConfig(init_lora_weights=False))
    both, expected = loaded(tmp_path / "adapter"), logits(made.eval())
    assert (logits(AutoModelForCausalLM.from_pretrained(model)) - expected).abs().max() > 1e-2
    torch.testing.assert_close(logits(both), expected, rtol=0, atol=SUMS * expected.abs().max().item())
    assert not any("lora" in name for name, _ in both.named_modules())
    assert parameters.trainable(both) == parameters.total(both), "full fine-tuning may train all of it"


@pytest.mark.parametrize("architecture", ["gpt2", "phi3"])
def test_so_does_that_of_a_run_whose_base_was_taken_apart(architecture: str, tmp_path: Path) -> None:
    a = adapted(["method=lora", "targets=all_linear", "method.lr=0.05", f"model.architecture={architecture}"])
    save_pretrained(base(architecture), a.tokenizer, tmp_path / "model")
    trainer(a, tmp_path).run(never, quiet)
    a.settings.method.save(a.model, tmp_path / "adapter")
    both, expected = loaded(tmp_path / "adapter", base=str(tmp_path / "model")), logits(a.model.eval())
    torch.testing.assert_close(logits(both), expected, rtol=0, atol=SUMS * expected.abs().max().item())
    assert list(both.state_dict()) == list(base(architecture).state_dict())


def test_a_run_trains_on_top_of_both(model: Path, tmp_path: Path) -> None:
    """What it keeps is loaded on both by PEFT, and on neither alone without a word."""
    first = with_adapter(model, tmp_path / "first", LoraConfig(init_lora_weights=False))
    a = adapted(["method=lora", "model=adapter", f"model.adapter={tmp_path / 'first'}", "method.lr=0.05"])
    trainer(a, tmp_path).run(never, quiet)
    a.settings.method.save(a.model, tmp_path / "second")
    together = PeftModel.from_pretrained(first.eval().merge_and_unload(), str(tmp_path / "second"))
    expected = logits(together.eval())
    torch.testing.assert_close(logits(a.model.eval()), expected, rtol=0, atol=SUMS * expected.abs().max().item())
    named = json.loads((tmp_path / "second" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert named == f"{model} + {tmp_path / 'first'}"


def test_its_identity_is_that_of_both(model: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        with_adapter(model, tmp_path / name, LoraConfig(init_lora_weights=False))
    one, two = (source(tmp_path / name).identity() for name in ("one", "two"))
    assert one["base"] == two["base"]
    assert one["adapter"] != two["adapter"]
    told = source(tmp_path / "one").describe()
    assert told == f"model in the folder {model}, with the adapter in the folder {tmp_path / 'one'} folded in"


def test_the_tokenizer_is_the_adapters_own_where_it_has_one(model: Path, tmp_path: Path) -> None:
    with_adapter(model, tmp_path / "adapter", LoraConfig())
    assert source(tmp_path / "adapter").parts()[1].chat_template is None
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(tmp_path / "adapter")
    assert source(tmp_path / "adapter").parts()[1].chat_template == "{{ messages }}"


def named(**fields: Any) -> Callable[[Path, Path], None]:
    """The adapter's configuration has these fields."""

    def change(_: Path, adapter: Path) -> None:
        path = adapter / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def of_another(model: Path, adapter: Path) -> None:
    """The adapter is of a base with more layers."""
    other = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model, num_hidden_layers=3))
    get_peft_model(other, LoraConfig()).save_pretrained(adapter)
    named(base_model_name_or_path=str(model))(model, adapter)


def a_prompt(model: Path, adapter: Path) -> None:
    with_adapter(model, adapter, PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"))


REFUSED: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "a base that is nowhere": (named(base_model_name_or_path="/no/where"), "its base is in /no/where, where there is"),
    "no base": (named(base_model_name_or_path=None), "names no base; name it: model.base="),
    "a base of fewer layers": (of_another, "4 of its 12 weights have no place in the base"),
    "a start that rewrote the base": (named(init_lora_weights="pissa_niter_4"), "which it does not hold"),
    "a soft prompt": (a_prompt, "PROMPT_TUNING stands beside the weights"),
    "a damaged configuration": (lambda _, adapter: (adapter / "adapter_config.json").write_text("{"), "adapter_config"),
    "damaged weights": (lambda _, adapter: (adapter / "adapter_model.safetensors").write_text(""), "does not fit"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_folded_in_is_a_line(name: str, model: Path, tmp_path: Path) -> None:
    damage, says = REFUSED[name]
    with_adapter(model, tmp_path / "adapter", LoraConfig())
    damage(model, tmp_path / "adapter")
    with pytest.raises(UserError) as caught:
        loaded(tmp_path / "adapter")
    (line,) = caught.value.problems
    assert says in line
    assert str(tmp_path / "adapter") in line
    assert "\n" not in line


@pytest.mark.parametrize("place", ["./nothing", "/no/such/folder", "a/b/c"])
def test_a_folder_that_is_not_there(place: str) -> None:
    with pytest.raises(UserError, match="no such folder"):
        source(place).identity()


def test_a_quantized_base_is_refused_with_the_way(model: Path, tmp_path: Path) -> None:
    with_adapter(model, tmp_path / "adapter", LoraConfig())
    with pytest.raises(UserError, match=r"merge_and_unload.*model=path"):
        adapted(["method=lora", "model=adapter", f"model.adapter={tmp_path / 'adapter'}", "quantization=nf4"])


def test_an_adapter_as_a_model_in_a_folder_is_refused_with_the_way(model: Path, tmp_path: Path) -> None:
    """Also where it lies beside a model's weights, of which transformers would take no notice."""
    with_adapter(model, tmp_path / "adapter", LoraConfig())
    for folder in (tmp_path / "adapter", model):
        (model / "adapter_config.json").write_bytes((tmp_path / "adapter" / "adapter_config.json").read_bytes())
        with pytest.raises(UserError, match=f"model=adapter model.adapter={folder}"):
            adapted(["method=lora", "model=path", f"model.path={folder}"])
