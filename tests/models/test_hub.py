"""Models and data by hub id, from a hub cache laid out as the hub's own client leaves it: no network is needed."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pandas as pd
import pytest

from harness.data import load
from harness.data.e2e import E2E
from harness.errors import UserError
from harness.prepare.base_model import load_base
from tests.support.command_line import TINY, Harness
from tests.support.tiny import settings

COMMIT = "0" * 39 + "1"
ROWS = [("name[Aroma], food[Thai]", f"Aroma serves Thai food, {n}.") for n in range(3)]
ROWS += [("name[Bistro], area[riverside]", "Bistro is by the river.")]


def hub_cache(folder: Path, kind: str, repository: str) -> Path:
    """The folder of a repository's files in a hub cache."""
    where = folder / f"{kind}s--{repository.replace('/', '--')}"
    (where / "refs").mkdir(parents=True)
    (where / "refs" / "main").write_text(COMMIT)
    files = where / "snapshots" / COMMIT
    files.mkdir(parents=True)
    return files


def e2e(path: str | None = None, hub_id: str | None = None) -> E2E:
    return E2E(name="e2e", prompt="{{ source }}", metrics=("bleu",), path=path, hub_id=hub_id, revision="main")


def test_a_model_by_its_hub_id(harness: Harness, tmp_path: Path) -> None:
    model, tokenizer = load_base(settings("method=zero_shot"))
    files = hub_cache(tmp_path / "hub", "model", "someone/tiny")
    model.save_pretrained(files)
    tokenizer.save_pretrained(files)
    chosen = ("model=hub", "model.id=someone/tiny", "data.size=100", "method=lora")
    small = ("train.steps=6", "eval.test_examples=4", "eval.max_new_tokens=8", "tracker=none", "threads=1")
    ended = harness(*chosen, small=small, HF_HUB_CACHE=str(tmp_path / "hub"), HF_HUB_OFFLINE="1")
    assert ended.returncode == 0, ended.stderr
    (record,) = harness.records().values()
    assert record.model_description == "someone/tiny at revision main"


def test_e2e_by_hub_id_is_e2e_by_path(tmp_path: Path) -> None:
    """`datasets` reads a folder of parquet files as it reads a repository of the hub."""
    (tmp_path / "csv").mkdir()
    (tmp_path / "hub").mkdir()
    own = {"train": "trainset.csv", "validation": "devset.csv", "test": "testset_w_refs.csv"}
    for number, (split, name) in enumerate(own.items()):
        rows = [(f"{mr}, near[Place {number}]", text) for mr, text in ROWS]
        pd.DataFrame(rows, columns=["mr", "ref"]).to_csv(tmp_path / "csv" / name, index=False)
        hub = pd.DataFrame(rows, columns=["meaning_representation", "human_reference"])
        hub.to_parquet(tmp_path / "hub" / f"{split}-00000-of-00001.parquet")
    by_path = load(e2e(path=str(tmp_path / "csv")))
    by_id = load(e2e(hub_id=str(tmp_path / "hub")))
    assert by_path == by_id
    assert len(by_id[0].test) == 2


@pytest.mark.parametrize("column", ["meaning_representation", "human_reference"])
def test_a_missing_column_is_named(column: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=["meaning_representation", "human_reference"]).rename(columns={column: "other"})
    for split in ("train", "validation", "test"):
        frame.to_parquet(tmp_path / f"{split}.parquet")
    with pytest.raises(UserError, match=column):
        load(e2e(hub_id=str(tmp_path)))


@pytest.mark.parametrize("how", ["no such host", "refuses", "never answers"])
@pytest.mark.parametrize("what", ["model", "data"])
def test_a_hub_that_does_not_answer_is_told_soon(what: str, how: str, harness: Harness, tmp_path: Path) -> None:
    """Its libraries try for two minutes, and say so line by line."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        place = "http://no.such.host.invalid" if how == "no such host" else f"http://127.0.0.1:{port}"
        if how == "refuses":
            server.close()
        given = ["model=hub", "model.id=some/thing"] if what == "model" else ["data=e2e", "data.hub_id=some/thing"]
        began = time.monotonic()
        ended = harness(*given, small=TINY, HF_HUB_OFFLINE="0", HF_ENDPOINT=place, HF_HOME=str(tmp_path / "home"))
        seconds = time.monotonic() - began
    assert ended.returncode == 2
    (line,) = [line for line in ended.stderr.splitlines() if line.strip()]
    assert line.startswith("error: ")
    assert f"cache of datasets, and {place} cannot" in line or f"hub's cache, and {place} cannot" in line
    assert seconds < 60, "most of it imports, and twice the patience with a host that is silent"
    assert "some/thing" in line
