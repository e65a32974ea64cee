"""Pairs and conversations of one's own, a model of one's own in a folder: a table, and the adapter elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from harness.places import ROOT
from tests.support.installed import FAST_ON_MINE, lines, run
from tests.support.made_models import chat_tokenizer, saved


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder in which a model is saved, as its user would have it."""
    return saved(tmp_path / "MODEL", chat_tokenizer())


def write(path: Path, rows: Iterable[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_pairs_and_a_model(said: Callable[..., str], mine: Path, tmp_path: Path, installed: Path) -> None:
    write(tmp_path / "pairs.jsonl", ({"question": f"What is {i} + 1?", "reply": f"It is {i + 1}."} for i in range(80)))
    look, sweep = lines("tasks.md", "peft-harness data=jsonl") + lines("tasks.md", "peft-harness -m data=jsonl")
    (table,) = lines("tasks.md", "peft-harness-reports")
    assert "as MODEL reads it" in said(look)
    said(sweep, *FAST_ON_MINE)
    text = said(table)
    for row in ("| zero shot", "| lora r=8", "| ia3"):
        assert row in text
    assert {path.name for path in tmp_path.iterdir()} == {"MODEL", "pairs.jsonl", "results"}

    # The adapter, by plain peft, from another folder.
    records = {path.parent: json.loads(path.read_text()) for path in tmp_path.glob("results/runs/*/record.json")}
    (folder,) = (each for each, record in records.items() if record["label"] == "lora r=8")
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/adapters.md").read_text(), re.S)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "load.py").write_text(f"ADAPTER = {str(folder / 'adapter')!r}\n{block}print(type(model).__name__)\n")
    *answer, kind = run(installed / "python", "load.py", cwd=elsewhere).splitlines()
    assert answer
    assert kind == "PeftModelForCausalLM"


def test_conversations(said: Callable[..., str], mine: Path, tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": "Yes, by the river."}
    write(
        tmp_path / "chats.jsonl",
        ({"messages": [{"role": "user", "content": f"Is number {i} a pub?"}, answer] * (1 + i % 2)} for i in range(80)),
    )
    (train,) = lines("tasks.md", "python -m harness data=chat")
    (look,) = lines("tasks.md", "python -m harness show-example")
    model = ("model=path", f"model.path={mine}")
    assert "assistant" in said(look, *model)
    assert "lora r=8: done" in said(train, *model, *FAST_ON_MINE)
    assert "| lora r=8" in said("peft-harness-reports single_runs")
