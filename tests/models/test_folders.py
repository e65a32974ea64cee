"""Every architecture of docs/targets.md from a folder, as a user's model lies there, with a real tokenizer: planned,
trained with LoRA, validated, asked, kept, loaded by plain PEFT, merged, and the merged model loaded again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftConfig, PeftModel
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from harness.evaluation.predict import predict
from harness.memory.planner import measure, plan
from harness.models import auto_class, parameters, save_pretrained
from harness.models.embedded import SmolLM2
from harness.models.local import LocalModel
from harness.models.roles import FUSED, in_parts, prepare
from harness.models.tiny import OWN, TinyRandom
from tests.support.blocks import HIDDEN
from tests.support.tiny import Adapted, adapted
from tests.support.trainers import never, quiet, trainer

ENCODERS = ("bert", "roberta")
MIXTURES = {"mixtral": 2, "olmoe": 2, "qwen2_moe": 2, "qwen3_moe": 1}
"""How many of the two blocks have experts."""
INNER = 2 * HIDDEN
"""Of an expert; its gate and up lie in one matrix."""
EXPERTS = "+method.options.target_parameters=[mlp.experts.gate_up_proj,mlp.experts.down_proj]"
A_BLOCK = 4 * 8 * (HIDDEN + 2 * INNER + INNER + HIDDEN)
"""Trained parameters in a block of four experts, each of two matrices [out, in], at rank 8: 8 columns of out, 8 rows of
in."""
TERMS = 2**-24 * 4 * HIDDEN
"""fp32's roundoff times the longest sum, of BLOOM's inner size."""


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    """SmolLM2's: 49,152 tokens, a chat template, and padding that is its end token."""
    return AutoTokenizer.from_pretrained(SmolLM2(name="smollm2_135m").folder())  # type: ignore[no-any-return]


def in_a_folder(folder: Path, architecture: str, tokenizer: Any) -> Path:
    """A random model of two blocks in that tokenizer's tokens."""
    config, _ = TinyRandom(name="tiny", architecture=architecture).parts()
    ids = {f"{each}_token_id": getattr(tokenizer, f"{each}_token_id") for each in ("pad", "bos", "eos")}
    config.update({"vocab_size": len(tokenizer), **ids})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = auto_class(config, ("no", "yes") if architecture in ENCODERS else None).from_config(config)
    # A user's encoder comes without a head.
    save_pretrained(model.base_model if architecture in ENCODERS else model, tokenizer, folder)
    return folder


def from_folder(folder: Path, architecture: str, *more: str) -> Adapted:
    data = "data=cuisine" if architecture in ENCODERS else "data=restaurants"
    small = ["train.steps=2", "train.warmup_steps=1", "train.batch_size=2", "train.validation_examples=2"]
    small += ["eval.max_new_tokens=4", "eval.test_examples=2", "forgetting.max_tokens=64"]
    return adapted(["model=path", f"model.path={folder}", data, "method=lora", "targets=all_linear", *small, *more])


def reads(model: Any, a: Adapted) -> torch.Tensor:
    """What a model answers to a batch of validation, padding included."""
    with torch.no_grad():
        output: torch.Tensor = model.eval()(**a.task.validation[0].inputs()).logits
    return output


def untouched(folder: Path, a: Adapted) -> Any:
    """The folder's model as transformers alone loads it, its new head that of the run."""
    torch.manual_seed(0)
    config, _ = LocalModel(name="mine", path=str(folder)).parts(a.settings.data.head_classes)
    kind = auto_class(config, a.settings.data.head_classes)
    return kind.from_pretrained(folder, config=config, attn_implementation="eager")


def of_experts(model: Any) -> int:
    """Trained parameters."""
    return sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and ".experts." in name)


def same(one: torch.Tensor, other: torch.Tensor, sums: int) -> None:
    """Equal within the rounding of so many sums, one behind the other."""
    torch.testing.assert_close(one, other, rtol=0, atol=sums * TERMS * other.abs().max().item())


@pytest.mark.parametrize("architecture", OWN)
def test_a_model_from_a_folder(architecture: str, tokenizer: Any, tmp_path: Path) -> None:
    folder = in_a_folder(tmp_path / "mine", architecture, tokenizer)
    a = from_folder(folder, architecture, *([EXPERTS] if architecture in MIXTURES else []))
    forecast = plan(a.settings, None)
    assert forecast == measure(a.settings)
    assert forecast.trainable_parameters == parameters.trainable(a.model)
    assert of_experts(a.model) == MIXTURES.get(architecture, 0) * A_BLOCK
    assert forecast.adapter_bytes == a.settings.method.kept_bytes(a.model, torch.float32)

    before = a.forward.mean_loss(a.task.validation)
    trainer(a, tmp_path).run(never, quiet)
    assert a.forward.mean_loss(a.task.validation) != before
    answers = predict(a.task, a.settings.method.generate, a.model.eval(), a.forward, lambda done: None)
    assert len(answers) == 2
    here = reads(a.model, a)

    adapter = tmp_path / "adapter"
    a.settings.method.save(a.model, adapter)
    plain, modules = untouched(folder, a), PeftConfig.from_pretrained(str(adapter)).target_modules
    assert bool(in_parts(modules)) == (architecture in FUSED)
    prepare(plain, modules)  # does nothing to most
    loaded = PeftModel.from_pretrained(plain, str(adapter))
    same(reads(loaded, a), here, 1)

    merged = a.settings.method.merge(a.model)
    same(reads(merged, a), here, 14)
    kept = reads(merged, a)
    save_pretrained(merged, tokenizer, tmp_path / "merged")
    again, _ = LocalModel(name="mine", path=str(tmp_path / "merged")).load(
        torch.float32, "cpu", None, a.settings.data.head_classes
    )
    assert torch.equal(reads(again, a), kept)


def test_plain_peft_leaves_parts_out_silently_which_the_card_says(tokenizer: Any, tmp_path: Path) -> None:
    """The reason for `in_parts`; where PEFT refuses it one day, the card need not warn any more."""
    folder = in_a_folder(tmp_path / "mine", "gpt2", tokenizer)
    a = from_folder(folder, "gpt2", "method.lr=0.05")
    trainer(a, tmp_path).run(never, quiet)
    a.settings.method.save(a.model, tmp_path / "adapter")
    partly = PeftModel.from_pretrained(untouched(folder, a), str(tmp_path / "adapter"))
    assert (reads(partly, a) - reads(a.model, a)).abs().max() > 1e-3
