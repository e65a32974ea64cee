"""docs/terminal.md on a terminal of 100 columns, by an installed package: a sweep, Ctrl-C, going on, and the table.

SCREENS_WRITE=1 writes the screens of that page anew.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from harness.places import ROOT
from tests.support.installed import FAST, lines
from tests.support.terminal import on_terminal, screen

PAGE = ROOT / "docs/terminal.md"
COLUMNS = 100
TRAINING = r"lora r=2  train  step \d"
"""Of the live line, when Ctrl-C is pressed."""
BLOCK = re.compile(r"(?<=```text\n)(\$ [^\n]*\n)(.*?)(?=```)", re.S)
"""Of the page: a command that was typed, and the screen that follows."""


def shape(text: str) -> str:
    """A screen without what differs from run to run: its numbers, the time left, and where its lines break."""
    return " ".join(re.sub(r"\d[\d.,]*\d|\d", "#", re.sub(r", about \d+ \w+ to go", "", text)).split())


def test_the_screens_of_the_page(installed: Path, tmp_path: Path) -> None:
    typed = [line.removeprefix("$ ") for line in lines("terminal.md", "$ ")]
    begin, again, table = typed[0], typed[2], typed[3]
    assert begin == typed[1] == again, "the same command"
    shown: list[str] = []

    def type_in(line: str, ctrl_c: str | None = None) -> tuple[str, int]:
        name, *words = shlex.split(line)
        small = ("threads=1",) if "+sweep" in line else ()
        written, code, pressed = on_terminal([str(installed / name), *words, *small], COLUMNS, tmp_path, ctrl_c)
        shown.extend("\n".join(screen(each, COLUMNS)).strip() for each in (pressed, written) if each)
        return written, code

    written, code = type_in(begin, ctrl_c=TRAINING)
    assert code == 130, written
    assert "Traceback" not in written
    assert type_in(again)[1] == 0
    assert type_in(table)[1] == 0

    if os.environ.get("SCREENS_WRITE"):
        fresh = iter(shown)
        PAGE.write_text(BLOCK.sub(lambda found: f"{found[1]}{next(fresh)}\n", PAGE.read_text()))
    *there, of_table = (found[2] for found in BLOCK.finditer(PAGE.read_text()))
    assert list(map(shape, there)) == list(map(shape, shown[:-1]))
    # Which columns fit depends on the numbers.
    heads = [text.partition("\n\n")[0] for text in (of_table, shown[-1])]
    assert heads[0] == heads[1]
    named = [re.findall(r"^(zero shot|lora r=2) ", text, re.M) for text in (of_table, shown[-1])]
    assert named == [["zero shot", "lora r=2"]] * 2
    (whole,) = re.findall(r"^all columns and notes: (.*)", shown[-1], re.M)
    assert "| lora r=2" in (tmp_path / whole).read_text()
    assert whole in of_table


def test_a_file_holds_text_alone(installed: Path, tmp_path: Path) -> None:
    words = ["-m", "method=zero_shot", "hydra.sweeper.name=one", *FAST]
    for command in ([installed / "peft-harness", *words], [installed / "peft-harness-reports", "one"]):
        with (tmp_path / "said").open("wb") as file:
            ended = subprocess.run(command, cwd=tmp_path, stdout=file, stderr=subprocess.STDOUT, check=False)
        text = (tmp_path / "said").read_text()
        assert ended.returncode == 0, text
        assert "zero shot" in text
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text), "a control character"
