"""Slips on the command line, in a folder of one's own, and in the file of a sweep: one line that says what would be
right."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.config.compose import compose_settings
from harness.config.sweeps import points, read_sweep_file
from harness.errors import UserError
from harness.places import OWN, take_folders
from tests.support.command_line import SMALL, Harness


def refused(*words: str, many: bool = False) -> str:
    """What is said of these words: one line."""
    with pytest.raises(UserError) as wrong:
        points(list(words), many) if many else compose_settings(list(words))
    (line,) = wrong.value.problems
    return line


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("data.path=/data/ü ä.jsonl", "from ü ä.jsonl on"),
        ("data.path=/data/ü.jsonl", "a text of other signs is written \"data.path='…'\""),
        ("data.path=/data/x (1).jsonl", "a text of other signs is written"),
        ("data.prompt={{ q }}", "a text of other signs is written \"data.prompt='…'\""),
        ("data.prompt='{{ q }}", "close the quotes"),
        ("data.path=~/x.jsonl", f"give data.path={os.path.expanduser('~/x.jsonl')}"),
        ("data.path=a,b.jsonl", "data.path=a,b.jsonl: gives several values"),
        ("data.prompt=q, it's", "from 's on"),
        ("data.path=${data.path}", "data.path: Recursive interpolation"),
        ("data.metrics=bleu", "data.metrics=bleu: input should be a valid tuple; write data.metrics=[bleu]"),
        ("tracker=null", "did you mean none?"),
        ("tune=3", "did you mean none?"),
        ("data={a:b}", "is no name; choose from: alpaca"),
        ("hydra/launcher=null", "is no name; leave it out"),
        ("+data@data.tasks.x=null", "is no name; choose from: alpaca"),
    ],
)
def test_words_that_hydra_does_not_take(word: str, says: str) -> None:
    line = refused("data=jsonl", "data.path=x", "data.prompt=x", "data.answer=x", word)
    assert says in line
    assert line.startswith(word.partition("=")[0])


def test_a_choice_that_is_no_name_in_every_command(harness: Harness) -> None:
    for words in (["tracker=null"], ["-m", "tune=null,lr"], ["method=3", "--dry-run"]):
        ended = harness(*words)
        assert ended.returncode == 2
        (line,) = ended.stderr.splitlines()
        assert "is no name" in line


def method(folder: Path, yaml: bytes, python: str = "") -> str:
    """A method of one's own, called `mine`; its folder."""
    (folder / "method").mkdir()
    (folder / "method/mine.yaml").write_bytes(yaml)
    if python:
        (folder / "method/slip.py").write_text(python)
    return str(folder)


SLIP = b"_target_: harness.methods.slip.X\nname: mine\nrank: 3\nlr: 1e-3\n"
FOLDERS: dict[str, tuple[bytes, str, str]] = {
    "a tab": (b"name: x\n\tlr: 3\n", "", "mine.yaml, line 2: is no YAML (found character"),
    "twins": (b"name: x\nname: y\n", "", "mine.yaml, line 2: is no YAML (found duplicate key name)"),
    "latin": (b"name: caf\xe9\n", "", "is no YAML ('utf-8' codec"),
    "itself": (b"defaults: [mine]\n", "", "a file names itself among its defaults"),
    "no such default": (b"defaults: [lorra]\n", "", "method=lorra: there is none; did you mean lora?"),
    "empty": (b"", "", "method={{}}: names no class"),
    "raises": (SLIP, "x = 1\nraise RuntimeError('boom')\n", "(RuntimeError: boom: {}/method/slip.py, line 2)"),
    "no Python": (SLIP, "\ndef (\n", "(invalid syntax: {}/method/slip.py, line 2)"),
    "a module that is not there": (SLIP, "import nowhere_at_all\n", "(No module named 'nowhere_at_all'); install it"),
    "no such class": (SLIP, "x = 1\n", "there is no such class of settings"),
    "half a class": (
        SLIP,
        "from harness.methods import Method\nclass X(Method):\n    rank: int\n",
        "harness.methods.slip.X: is no whole class (Can't instantiate abstract class X",
    ),
}


@pytest.mark.parametrize("slip", FOLDERS)
def test_a_folder_with_a_slip(slip: str, harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yaml, python, says = FOLDERS[slip]
    folder = method(tmp_path, yaml, python)
    if python or slip == "a tab":  # modules stay in a process that has imported them
        ended = harness("--config-dir", folder, "method=mine")
        assert ended.returncode == 2, ended.stderr
        (line,) = ended.stderr.splitlines()
    else:
        monkeypatch.setenv(OWN, folder)
        line = refused("method=mine")
    assert says.format(tmp_path) in line


def test_a_folder_of_the_environment_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OWN, "/nowhere/at/all")
    with pytest.raises(UserError, match=f"{OWN}=/nowhere/at/all: is no folder"):
        take_folders(["method=lora"])


SWEEPS = {
    "": "question: is missing",
    "question: q\n": "grids: is missing",
    "question: [q]\ngrids: [[seed=1]]\n": "question=['q']: input should be a valid string",
    "question: q\ngrids: 3\n": "grids=3: input should be a valid list",
    "question: q\ngrids: []\n": "grids=[]: list should have at least 1 item",
    "question: q\ngrids: [method=lora]\n": "grids.0=method=lora: input should be a valid list",
    "question: q\ngrids: [null]\n": "grids.0=None: input should be a valid list",
    "question: q\ngrids: {a: [method=lora]}\n": "grids={'a': ['method=lora']}: input should be a valid list",
    "question: q\ngrids: [{method: lora}]\n": "grids.0={'method': 'lora'}: input should be a valid list",
    "question: q\noverrides: seed=1\ngrids: [[seed=1]]\n": "overrides=seed=1: input should be a valid list",
    "question: q\ntune: 3\ngrids: [[seed=1]]\n": "tune.str=3: input should be a valid string",
    "question: q\nrows: 3\ngrids: [[seed=1]]\n": "rows: unknown key",
}


@pytest.mark.parametrize("content", SWEEPS)
def test_a_file_that_is_no_sweep(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as wrong:
        read_sweep_file(str(path))
    (line,) = wrong.value.problems
    assert line.startswith(f"{path}: is no file of a sweep: {SWEEPS[content]}")
    assert "`grids: [[key=value, …], …]`" in line


def test_a_grid_that_names_no_choice_or_itself(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for grid, says in (("method=null", "method=null: is no name"), (f"+sweep={path}", "sweep: unknown key")):
        path.write_text(f"question: q\ngrids: [['{grid}']]\n")
        with pytest.raises(UserError, match=says):
            compose_settings(points([f"+sweep={path}"], many=True)[0])


def test_a_setting_that_no_row_has_is_told_once() -> None:
    line = refused("+sweep=quickstart", "method.rnak=3", *SMALL, many=True)
    assert line == "method.rnak: no row has such a setting; did you mean method.rank?"


def test_a_setting_of_a_task_that_the_words_add_is_known() -> None:
    added = ["data=mix", "+data@data.tasks.more=restaurants", "data.tasks.more.seed=1,2"]
    rows = points(added, many=True)
    assert [row[-1] for row in rows] == ["data.tasks.more.seed=1", "data.tasks.more.seed=2"]
