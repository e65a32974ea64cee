"""docs/python.md from an installed wheel, and its notebook; on a random model, so that it takes seconds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness import api
from harness.errors import UserError
from harness.places import ROOT
from reports import api as reports
from tests.support.command_line import TINY
from tests.support.installed import run

PAGE = ROOT / "docs/python.md"
SMALL = ", ".join(map(repr, (*TINY, "train.warmup_steps=1", "train.validation_examples=4", "data.size=100")))


def blocks() -> list[str]:
    """The Python of the page, on a random model."""
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(found) == 3
    return [block.replace('"train.steps=8"', f"{SMALL}, 'train.steps=3'") for block in found]


def test_the_page_runs_as_it_stands(installed: Path, tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks()))
    said = run(installed / "python", script, cwd=tmp_path).splitlines()
    assert said[0] == "lora r=4 3 0.0063"
    assert said[1].startswith("ok ")
    assert Path(tmp_path / said[2] / "record.json").is_file()
    assert said[3].startswith("['method-lora-ia3_seed-0-1-"), "and the single run"
    assert any(line.startswith("| lora r=8") for line in said)
    again = run(installed / "python", script, cwd=tmp_path).splitlines()
    assert again == said, "nothing is run twice"


def test_the_notebook_is_the_page() -> None:
    book = json.loads((ROOT / "docs/python.ipynb").read_text())
    code = ["".join(cell["source"]) + "\n" for cell in book["cells"] if cell["cell_type"] == "code"]
    assert code == re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])


def test_what_is_wrong_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for ask in (api.settings, api.run, api.sweep):
        with pytest.raises(UserError, match=r"method.rnak: method=lora has no such setting"):
            ask("method=lora", "method.rnak=4", "tracker=none")
    with pytest.raises(UserError, match="no sweeps there"):
        reports.sweeps()
    with pytest.raises(UserError, match="no such sweep"):
        reports.frame("nothing")
    with pytest.raises(UserError, match="there is no such column"):
        reports.table("quickstart", ROOT / "docs/results", columns=["nothing"])
    assert len(reports.frame("quickstart", ROOT / "docs/results")) == 8
