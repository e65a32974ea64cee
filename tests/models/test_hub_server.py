"""The hub as a user's client meets it: a server on the loopback interface that speaks its API, no part of the client
replaced. Models, data sets, gates, slips, a download that breaks, a cache without a network; and what is published."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from harness.results.folder import read_record
from tests.support.command_line import Harness
from tests.support.hub import TOKEN, USER, Hub, environment, running
from tests.support.made_models import byte_tokenizer, saved

ROWS = 40
SMALL = ("train.steps=4", "train.warmup_steps=1", "eval.test_examples=4", "eval.max_new_tokens=6", "tracker=none")
SMALL += ("threads=1", "dtype=fp32", "forgetting.max_tokens=256")
MODEL = ("model=hub", f"model.id={USER}/tiny")
ADAPTER = ("model=adapter",)
DATA = ("data=hub", f"data.hub_id={USER}/pairs", "data.prompt='Q: {{ q }} A:'", "data.answer='{{ a }}'")
DATA += ("data.hub_splits={train:train,validation:train,test:test}",)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """With a tiny model and its revision of before, a data set, and one of each behind a gate."""
    model = saved(tmp_path / "model", byte_tokenizer("<s>"))
    other = saved(tmp_path / "other", byte_tokenizer("<s>"), rows=600)
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "test"):
        rows = [{"q": f"{split} {i}", "a": f"The pub {i}."} for i in range(ROWS)]
        (data / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with running() as served:
        served.add("models", f"{USER}/tiny", other, revision="v1")
        served.add("models", f"{USER}/tiny", model)
        served.add("models", f"{USER}/gated", model, gated=True)
        served.add("datasets", f"{USER}/pairs", data)
        for name, base in (("adapter", "tiny"), ("orphan", "gone")):
            served.add("models", f"{USER}/{name}", adapter(tmp_path / name, model, f"{USER}/{base}", revision="v1"))
        served.add("datasets", f"{USER}/secret", data, gated=True)
        yield served


def adapter(folder: Path, model: Path, base: str, revision: str) -> Path:
    """An adapter as PEFT saves one, of values that change what its base says; without a tokenizer."""
    made = get_peft_model(AutoModelForCausalLM.from_pretrained(model), LoraConfig(init_lora_weights=False))
    config = made.peft_config["default"]
    config.base_model_name_or_path, config.revision = base, revision
    made.save_pretrained(folder)
    return folder


@pytest.fixture
def ask(hub: Hub, harness: Harness, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Runs the harness against the hub, with a cache of the test's own."""

    def one(*words: str, token: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        return harness(*words, small=SMALL, **(environment(hub, tmp_path / "cache", token) | more))

    return one


def test_a_model_and_data_by_their_ids_then_from_the_cache_alone(hub: Hub, ask, harness: Harness) -> None:  # type: ignore[no-untyped-def]
    ran = ask(*MODEL, *DATA, "method=lora")
    assert ran.returncode == 0, ran.stderr
    (record,) = harness.records().values()
    assert record.status == "ok"
    assert record.model_description == f"{USER}/tiny at revision main"
    assert any("model.safetensors" in each for each in hub.asked)
    asked = len(hub.asked)
    offline = ask(*MODEL, *DATA, "method=ia3", HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    assert len(hub.asked) == asked, "nobody was asked"
    assert len(harness.records()) == 2


def test_a_revision_is_another_model(ask, harness: Harness) -> None:  # type: ignore[no-untyped-def]
    for revision in ("main", "v1"):
        ran = ask(*MODEL, f"model.revision={revision}", "data.size=100", "method=lora", "method.rank=1")
        assert ran.returncode == 0, ran.stderr
    counts = [record.parameters.total for record in harness.records().values() if record.parameters]
    assert len(set(counts)) == 2, "the older one has more embeddings"


@pytest.mark.parametrize("token", [None, TOKEN])
def test_behind_a_gate(token: str | None, ask) -> None:  # type: ignore[no-untyped-def]
    gated = ask("model=hub", f"model.id={USER}/gated", "data.size=100", "method=lora", token=token)
    secret = ask(*MODEL, *(word.replace("/pairs", "/secret") for word in DATA), "method=lora", token=token)
    for ran, name in ((gated, "gated"), (secret, "secret")):
        assert ran.returncode == (0 if token else 2), ran.stderr
        if token is None:
            (line,) = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
            assert f"{USER}/{name}" in line
            assert "gated" in line or "restricted" in line or "authenticated" in line


SLIPS = {
    "a typo in a model": (("model=hub", f"model.id={USER}/tini"), f"{USER}/tini"),
    "a typo in data": ((*MODEL, *DATA, f"data.hub_id={USER}/pears"), f"{USER}/pears"),
    "data as a model": (("model=hub", f"model.id={USER}/pairs"), f"{USER}/pairs: is a data set on the hub"),
    "an adapter as a model": (("model=hub", f"model.id={USER}/adapter"), f"is an adapter of {USER}/tiny"),
    "a model as an adapter": ((*ADAPTER, f"model.adapter={USER}/tiny"), f"{USER}/tiny: no adapter_config.json"),
    "a typo in an adapter": ((*ADAPTER, f"model.adapter={USER}/adaptor"), f"{USER}/adaptor: the hub has none"),
    "no such revision of an adapter": ((*ADAPTER, f"model.adapter={USER}/adapter", "model.revision=v9"), "revision v9"),
    "an adapter without its base": ((*ADAPTER, f"model.adapter={USER}/orphan"), f"{USER}/orphan: its base cannot"),
    "no such revision": ((*MODEL, "model.revision=v9"), "v9"),
    "no such split": ((*MODEL, *DATA, "data.hub_splits={train:train,validation:dev,test:test}"), "dev"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_a_line(slip: str, ask) -> None:  # type: ignore[no-untyped-def]
    words, named = SLIPS[slip]
    ran = ask(*words, "method=lora", *(() if "data=hub" in words else ("data.size=100",)))
    assert ran.returncode == 2
    lines = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, ran.stderr
    assert named in lines[0]


def test_an_adapter_and_its_base_as_one_base(hub: Hub, ask, harness: Harness) -> None:  # type: ignore[no-untyped-def]
    """Of the revision that the adapter names; the record says what both were, and so is what is trained on them."""
    ran = ask("model=adapter", f"model.adapter={USER}/adapter", "data.size=100", "method=lora")
    assert ran.returncode == 0, ran.stderr
    ((run, record),) = harness.records().items()
    both = f"{USER}/tiny at revision v1, with the adapter {USER}/adapter at revision main folded in"
    assert record.model_description == both
    assert record.key["model"]["base"] == {"hub": f"{USER}/tiny", "revision": "v1"}
    assert record.key["model"]["adapter"] == {"hub": f"{USER}/adapter", "revision": "main"}
    assert record.checks is not None
    assert record.checks.reloads
    kept = json.loads((harness.results / "runs" / run / "adapter" / "adapter_config.json").read_text())
    assert kept["base_model_name_or_path"] == f"{USER}/tiny + {USER}/adapter"
    assert both in (harness.results / "runs" / run / "adapter" / "README.md").read_text()


def test_a_download_that_breaks_goes_on(hub: Hub, ask) -> None:  # type: ignore[no-untyped-def]
    hub.breaks["model.safetensors"] = 10_000
    ran = ask(*MODEL, "data.size=100", "method=lora")
    assert ran.returncode == 0, ran.stderr
    assert not hub.breaks
    assert sum("GET" in each and "model.safetensors" in each for each in hub.asked) >= 2


def test_code_that_comes_with_a_model_is_not_run(hub: Hub, ask, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    config = json.loads((tmp_path / "model/config.json").read_text())
    named = {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}
    (tmp_path / "model/config.json").write_text(json.dumps(config | {"model_type": "mine", "auto_map": named}))
    (tmp_path / "model/mine.py").write_text("raise SystemExit('it ran')\n")
    hub.add("models", f"{USER}/code", tmp_path / "model")
    ran = ask("model=hub", f"model.id={USER}/code", "data.size=100", "method=lora")
    assert ran.returncode == 2
    assert "it ran" not in ran.stderr + ran.stdout
    assert "Python code of its own" in ran.stderr


LOADED = """
import json, sys
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

base, name = sys.argv[1:3]
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), name)
tokenizer, answers = AutoTokenizer.from_pretrained(name), GenerationConfig.from_pretrained(name)
for text in json.load(sys.stdin):
    ids = tokenizer(text, return_tensors="pt")
    out = model.generate(**ids, generation_config=answers, max_new_tokens=6)[0][ids["input_ids"].shape[1]:]
    print(json.dumps(tokenizer.decode(out, skip_special_tokens=True)))
"""


def test_what_is_published_is_what_was_scored(hub: Hub, ask, harness: Harness, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Downloaded by plain peft and transformers it gives the answers that the record's scores are of."""
    words = ("method=lora", "method.lr=0.05", "train.steps=30", "eval.keep_texts=true")
    assert ask(*MODEL, *DATA, *words).returncode == 0
    ((run, record),) = harness.records().items()
    variables = os.environ | environment(hub, tmp_path / "cache", TOKEN)
    words = [sys.executable, "-m", "harness", "publish", run, "--results", str(harness.results), "--to", f"{USER}/mine"]
    done = subprocess.run(words, capture_output=True, text=True, env=variables, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub.address}/{USER}/mine"
    files = hub.files("models", f"{USER}/mine")
    adapter = harness.results / "runs" / run / "adapter"
    assert files == {path.name: path.read_bytes() for path in adapter.iterdir()}
    again = subprocess.run(words, capture_output=True, text=True, env=variables, timeout=300)
    assert again.returncode == 0, "what is there is written over"

    card = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert card["base_model"] == f"{USER}/tiny"
    told = {m["type"]: m["value"] for r in card["model-index"][0]["results"] for m in r["metrics"]}
    assert told == {name: value for name, value in record.quality.items() if value is not None}

    kept = [
        json.loads(line) for line in (harness.results / "runs" / run / "predictions.jsonl").read_text().splitlines()
    ]
    prompt = json.loads(files["prompt.json"])
    assert prompt["prompt"] == "Q: {{ q }} A:"
    texts = [line["input"] for line in kept]
    assert [line["id"] for line in kept] == [f"test, row {int(text.split()[2]) + 1}" for text in texts]
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED, f"{USER}/tiny", f"{USER}/mine"],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        env=os.environ | environment(hub, tmp_path / "fresh"),
        timeout=300,
    )
    assert loaded.returncode == 0, loaded.stderr
    answers = [json.loads(line) for line in loaded.stdout.splitlines()]
    assert [each.split("\n")[0].strip() for each in answers] == [line["prediction"].strip() for line in kept]


def test_what_cannot_be_published(hub: Hub, ask, harness: Harness, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert ask(*MODEL, "data.size=100", "method=lora").returncode == 0
    (run,) = harness.records()
    for token, to, said in (
        (None, f"{USER}/x", "publish: there is no token"),
        (TOKEN, "elsewhere/x", "publish: elsewhere/x cannot be written to"),
        (TOKEN, "a b/c/d", "--to a b/c/d"),
        (TOKEN, "x", "--to x: must be USER/NAME"),
        ("hf_" + "b" * 34, f"{USER}/x", f"publish: {USER}/x cannot be written to"),
    ):
        words = ["publish", run, "--results", str(harness.results), "--to", to]
        variables = os.environ | environment(hub, tmp_path / "cache", token)
        done = subprocess.run([sys.executable, "-m", "harness", *words], capture_output=True, text=True, env=variables)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert said in line
    assert read_record(harness.results / "runs" / run / "record.json").status == "ok"
