"""An adapter's folder is enough by itself: what docs/adapters.md says of it, on a run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from harness.metrics.tools.bootstrap import draws
from harness.places import ROOT
from harness.results.record import Record
from harness.run.keep import intervals
from tests.support.command_line import Harness
from tests.support.made_models import byte_tokenizer, saved
from tests.support.records import run_folder


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """The folder of a run's adapter, and its record."""
    folder = tmp_path_factory.mktemp("run")
    model = saved(folder / "model", byte_tokenizer("<s>"))
    harness = Harness(folder / "results")
    words = ("model=path", f"model.path={model}", "train.steps=20", "method.lr=0.05", "dtype=fp32")
    ended = harness(*words, "method=lora", "eval.keep_texts=true")
    assert ended.returncode == 0, ended.stderr
    ((run, record),) = harness.records().items()
    return harness.results / "runs" / run / "adapter", record


def test_the_six_lines_of_the_docs(ran: tuple[Path, Record], capsys: pytest.CaptureFixture[str]) -> None:
    adapter, _ = ran
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/adapters.md").read_text(), re.S)
    assert len([line for line in code.splitlines() if line.strip()]) == 6
    example = '"Restaurant: name[Aromi], eatType[pub]\\nDescription:"'
    assert example in code
    for line in (adapter.parent / "predictions.jsonl").read_text().splitlines():
        kept = json.loads(line)
        prompt = f"Restaurant: {kept['input']}\nDescription:"
        script = code.replace(example, "PROMPT").replace("max_new_tokens=40", "max_new_tokens=8")
        exec(script, {"ADAPTER": str(adapter), "PROMPT": prompt})
        told = capsys.readouterr().out.removeprefix(prompt).split("\n")
        assert next((part.strip() for part in told if part.strip()), "") == kept["prediction"].strip()
        assert kept["references"]
        assert re.fullmatch(r"[0-9a-f]{12}", kept["id"])


def test_the_card_says_what_the_record_does(ran: tuple[Path, Record]) -> None:
    adapter, record = ran
    text = (adapter / "README.md").read_text()
    card = ModelCard(text)
    results = card.data.eval_results
    assert results is not None
    scores = {each.metric_type: each.metric_value for each in results}
    assert scores == {name: value for name, value in record.quality.items() if value is not None}
    assert {each.dataset_args["sha256"] for each in results if each.dataset_args} == {record.key["data"]["sha256"]}
    assert yaml.safe_load(text.split("---")[1])["library_name"] == "peft"
    assert record.parameters is not None
    assert f"{record.parameters.trainable:,} of {record.parameters.total:,}" in text
    assert record.id in text
    assert "plain PEFT" not in text


def test_its_intervals_are_of_the_bootstrap_over_examples(ran: tuple[Path, Record]) -> None:
    adapter, record = ran
    lines = [json.loads(line) for line in (adapter.parent / "predictions.jsonl").read_text().splitlines()]
    sure = intervals(record, lines)
    assert {"bleu", "rouge1", "ser"} <= sure.keys()
    assert "val_loss" not in sure
    each = np.array([line["rouge1"] for line in lines])
    wanted = np.percentile(draws(len(each)) @ each / len(each), [2.5, 97.5])
    assert sure["rouge1"] == pytest.approx(tuple(wanted))


def test_what_trains_nothing_or_keeps_nothing_has_no_card(tmp_path: Path) -> None:
    harness = Harness(tmp_path / "results")
    for method in ("zero_shot", "full"):
        assert harness(f"method={method}").returncode == 0
    assert not list(tmp_path.glob("results/runs/*/adapter/README.md"))


def test_it_warns_of_an_adapter_that_plain_peft_loads_in_part(run_point: Callable[..., Record], tmp_path: Path) -> None:
    record = run_point("method=lora", "model.architecture=gpt2")
    text = (run_folder(tmp_path / "results", record.id) / "adapter" / "README.md").read_text()
    (line,) = [line for line in text.splitlines() if "plain PEFT" in line]
    assert "attn.c_attn.q, attn.c_attn.v are parts of one matrix" in line
    assert "mlp.c_fc" not in line
