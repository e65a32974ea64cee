"""PEFT's own comparison on MetaMathQA as a sweep: every row of it composes, and plans have its counts of parameters."""

from __future__ import annotations

import json

import pytest

from harness.commands.plan import main
from harness.config.compose import composed
from harness.config.sweeps import points
from harness.config.validate import settings_from
from harness.errors import UserError
from harness.memory.planner import plan
from harness.places import ROOT
from tests.support.tasks import write

SWEEP = "papers/peft_metamathqa"
PUBLISHED = ROOT.parent / "shared/data/hf_method_comparison"
ROWS = [
    ("lora rank32", 9_175_040),
    ("lora rank64", 18_350_080),
    ("lora rank10-target-mlp", 9_461_760),
    ("lora rank64-rslora", 18_350_080),
    ("lora rank32-dora", 9_289_728),
    ("lora rank32-lorafa", 3_670_016),
    ("lora rank32-mica", 5_505_024),
    ("lora rank14-target-mlp-bdlora", 8_429_568),
    ("adamss rank32", 293_888),
    ("adaptionprompt lr_0.0005", 8_601_628),
    ("adaptionprompt lr_5e-3", 8_601_628),
    ("beft target-v_proj", 28_672),
    ("boft default", 802_816),
    ("c3a default", 5_505_024),
    ("deft rank32-para", 3_670_016),
    ("deft rank32", 9_175_040),
    ("delora rank32", 9_175_096),
    ("fourierft default", 56_000),
    ("fourierft n_frequency-5000", 280_000),
    ("frod default", 5_456_808),
    ("frod sparse0.02-lr_0.001", 10_741_640),
    ("full-finetuning lr_0.00001", 3_212_749_824),
    ("glora default", 4_587_520),
    ("glora vector-paths", 229_376),
    ("gralora rank32", 9_175_040),
    ("hira rank32-lr4.5e-3", 9_175_040),
    ("ia3 default", 286_720),
    ("ia3 lr_0.001", 286_720),
    ("lily rank140-mlp-a2-b2-s8.0", 9_485_280),
    ("lily rank896-a2-b2-s2.0", 18_450_432),
    ("ln_tuning default", 175_104),
    ("loha rank32", 18_350_080),
    ("lokr rank32-factor4-lr0.003", 2_294_656),
    ("miss default", 7_340_032),
    ("miss bat", 7_340_032),
    ("miss mini", 229_376),
    ("oft rank32", 8_171_520),
    ("peanut rank1-relu-depth0-s32.0", 229_376),
    ("peanut rank32-relu-depth0-s2.0", 7_340_032),
    ("prefixtuning lr_0.001", 11_468_800),
    ("prefixtuning lr_0.005_zero_init", 11_468_800),
    ("prefixtuning tokens50-init_prefix-lr_0.005", 2_867_200),
    ("prompt_tuning default", 614_400),
    ("prompt_tuning lr_0.001", 614_400),
    ("prompt_tuning sample_vocab-lr_0.001", 614_400),
    ("psoft default", 1_856_512),
    ("psoft fast", 1_856_512),
    ("ptuning default", 28_382_208),
    ("pvera default", 143_360),
    ("pvera rank64", 121_856),
    ("randlora default", 9_289_728),
    ("road lr_0.001", 229_376),
    ("shira lr_0.0003-random_seed_42", 9_175_040),
    ("tinylora default", 3_584),
    ("tinylora weight-tying", 64),
    ("unilora default", 256),
    ("vblora default", 1_212_416),
    ("vera default", 129_024),
    ("waveft n_frequency-5000", 280_000),
]
"""The rows of the sweep in its order: the file of that comparison, and the trainable parameters that it gives
(https://github.com/huggingface/peft, method_comparison/MetaMathQA/results)."""
UNPLANNED = {"adamss", "boft", "frod", "shira", "unilora", "vblora", "waveft"}
"""Methods whose parameters depend on the values of tensors, which a shape has not."""
LEFT_OUT = {
    "adalora rank32": "it starts with twice the rank that it ends with; method=adalora with one and a half times it",
    "ia3 all-attn-5k-lr0.005": "it takes up and gate for layers of the kind of down; method=ia3 takes down alone",
    "osf rank128": "it sets the rank matrix by matrix",
    "trainable_tokens sos+eos": "it names its tokens; method=trainable_tokens takes those that the data use most",
}
"""Rows of that comparison that the sweep has not, and why."""


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Of each row of the sweep."""
    folder = tmp_path_factory.mktemp("data")
    asked = [{"query": f"{i} + 1?", "response": f"The answer is: {i + 1}"} for i in range(2000)]
    (folder / "MetaMathQA-395K.json").write_text(json.dumps(asked))
    for split in ("train", "test"):
        write(folder / f"{split}.jsonl", [{"question": f"{split} {i}?", "answer": f"#### {i}"} for i in range(5)])
    paths = [f"data.tasks.{task}.path={folder}" for task in ("metamathqa", "gsm8k")]
    return points([f"+sweep={SWEEP}", *paths, "model=llama3_2_3b", "device=cpu"], many=True)


def test_every_row_composes_and_is_a_run_of_its_own(overrides: list[list[str]]) -> None:
    settings = [settings_from(composed(row), planned=True) for row in overrides]
    assert len(settings) == len(ROWS) == 59
    files = [name.partition(" ")[0] for name, _ in ROWS]
    assert [each.method.name[:4] for each in settings[:2]] == [name[:4] for name in files[:2]]
    assert {(each.train.steps, each.train.batch_size, each.train.schedule) for each in settings} == {
        (5000, 4, "cosine")
    }


def test_the_rows_are_those_that_were_published(overrides: list[list[str]]) -> None:
    if not PUBLISHED.is_dir():
        pytest.skip(f"{PUBLISHED} is not there")
    published = {
        path.stem.replace("--llama-3.2-3B-", " "): json.loads(path.read_text()) for path in PUBLISHED.glob("*.json")
    }
    assert published.keys() == dict(ROWS).keys() | LEFT_OUT.keys()
    for (name, parameters), row in zip(ROWS, overrides, strict=True):
        told = published[name]
        assert told["train_info"]["num_trainable_params"] == parameters, name
        train, kwargs = told["run_info"]["train_config"], told["run_info"]["train_config"]["optimizer_kwargs"]
        settings = settings_from(composed(row), planned=True)
        assert settings.method.lr == kwargs["lr"], name
        assert settings.train.weight_decay == kwargs.get("weight_decay", 0.01), name
        assert (settings.train.max_length, settings.eval.max_new_tokens) == (
            train["max_seq_length"],
            train["generation_kwargs"]["max_new_tokens"],
        )


PLANNED = [place for place, (name, _) in enumerate(ROWS) if name.partition(" ")[0] not in UNPLANNED]


@pytest.mark.parametrize("place", PLANNED if PUBLISHED.is_dir() else PLANNED[::4], ids=lambda place: ROWS[place][0])
def test_a_plan_has_the_published_count(place: int, overrides: list[list[str]]) -> None:
    assert plan(settings_from(composed(overrides[place]), planned=True), 64).trainable_parameters == ROWS[place][1]


def test_rows_that_cannot_be_planned_do_not_keep_the_others_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-m", "model=tiny_random", "method=lora,shira", "plan.length=16", "plan.format=json"]
    with pytest.raises(UserError, match="method=shira: cannot be planned"):
        main(words)
    (line,) = json.loads(capsys.readouterr().out)
    assert line["label"] == "lora r=8"
