"""One training example as the model reads it: what is printed is what a training batch holds."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from harness.commands.show_example import shown
from harness.config.compose import compose_settings
from harness.errors import UserError
from harness.prepare.base_model import load_base
from harness.prepare.encoded_task import EncodedTask
from tests.support.command_line import Harness

TINY = ("model=tiny_random", "tracker=none", "data.size=100")
LINE = re.compile(r" *(\d+) ([* ]) +(\d+)  (\w+) +('.*'|\".*\")")


def read(text: str) -> list[tuple[bool, int, str, str]]:
    """Of each token: whether it is trained on, its id, whose it is, and its text."""
    found = [LINE.fullmatch(line) for line in text.splitlines()[4:]]
    assert all(found)
    return [(m[2] == "*", int(m[3]), m[4], ast.literal_eval(m[5])) for m in found if m]


CHAT = ("data.chat=true", "model=smollm2_135m")


@pytest.mark.parametrize("more", [(), CHAT, ("data.boundary=' = '",), ("data.boundary=''",)])
def test_what_is_shown_is_what_is_trained_on(more: tuple[str, ...]) -> None:
    settings = compose_settings([*TINY, "train.max_length=900", *more])
    rows = read(shown(settings, 1))
    task = EncodedTask(settings, load_base(settings))
    pair = task.encoder.pair(task.train[0], task.train[0].references[0])
    assert [number for _, number, _, _ in rows] == list(pair.ids)
    assert [i for i, row in enumerate(rows) if row[0]] == pair.places
    assert {role for trained, _, role, _ in rows if trained} == {"answer"}
    answer = "".join(text for trained, _, _, text in rows if trained)
    lead = {"data.boundary=' = '": " = ", "data.boundary=''": "", "data.chat=true": ""}.get((*more, "")[0], " ")
    assert answer.startswith(lead + task.train[0].references[0])


def test_turns_have_their_roles(tmp_path: Path) -> None:
    turns = [("system", "Add."), ("user", "2 + 2?"), ("assistant", "4."), ("user", "Twice?"), ("assistant", "8.")]
    path = tmp_path / "c.jsonl"
    rows = [{"messages": [{"role": r, "content": f"{c} {i}"} for r, c in turns]} for i in range(9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokens = read(shown(compose_settings(["data=chat", f"data.path={path}", "tracker=none"]), 2))
    said = {(trained, role) for trained, _, role, _ in tokens}
    assert said == {(False, "system"), (False, "user"), (False, "assistant"), (True, "assistant")}
    assert "".join(text for trained, _, _, text in tokens if trained).count("<|im_end|>") == 2


def test_a_classifier_and_an_encoder_decoder() -> None:
    text = shown(compose_settings(["model=tiny_random", "tracker=none", "data=cuisine"]), 1)
    assert re.search(r"tokens, to be sorted into the class '\w+'", text)
    text = shown(compose_settings(["model=tiny_random", "model.architecture=t5", "tracker=none"]), 1)
    decoder = [line for line in text.splitlines() if "  decoder  " in line]
    assert not LINE.fullmatch(decoder[0])[2].strip()  # type: ignore[index]
    assert all(LINE.fullmatch(line)[2] == "*" for line in decoder[1:])  # type: ignore[index]


def test_by_a_flag_and_by_a_command_and_what_is_wrong(harness: Harness) -> None:
    flag = harness("--show-example")
    assert flag.returncode == 0, flag.stderr
    assert "training example 1 of" in flag.stdout
    assert not harness.results.exists()
    for number in (0, 10**9):
        with pytest.raises(UserError, match=f"--number {number}: the training split has"):
            shown(compose_settings([*TINY]), number)
    wrong = harness("--show-example", "data.boundary=x", "data.chat=true")
    assert wrong.returncode == 2
    assert "data.boundary: is of a text that goes on" in wrong.stderr
