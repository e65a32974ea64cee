"""Language modelling: texts without prompts or answers, cut into blocks of lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from harness.data import Example, Splits, Templates
from harness.data.splits import splits_of
from harness.data.stored import Stored
from harness.errors import UserError
from harness.texts import lines, read_text


class PlainText(Stored):
    """Text files in a folder, or the column `text` of a data set of the hub (a line a row)."""

    plain: ClassVar[bool] = True
    places_named: ClassVar[str] = "data.path=FOLDER"

    prompt: Templates = ""
    """Not used: a block has no prompt."""
    metrics: tuple[str, ...] = Field(default=(), strict=False)
    """Not used: blocks are scored by the likelihood of their tokens."""
    block: Annotated[int, Field(ge=1)]
    """Characters that a block may have, unless one line has more."""

    def problems(self) -> list[str]:
        wrong = super().problems()
        if self.chat:
            wrong.append("data.chat=true: a text without a prompt has no turns; use data.chat=false")
        return wrong

    def render(self, example: Example) -> str:
        return ""

    def load(self) -> Splits:
        if self.path is not None:
            names, key, folder = self.files, "data.files", Path(self.path)
            texts = {name: _read(folder / name) for name in names.distinct()}
        else:
            tables, names, key = self.tables()
            if missing := [name for name, rows in tables.items() if "text" not in rows[0]]:
                raise UserError(f"data.hub_id={self.hub_id}: the split {missing[0]} has no column text; choose another")
            texts = {name: [row["text"] for row in rows] for name, rows in tables.items()}
            if stray := [name for name, each in texts.items() if not all(isinstance(text, str) for text in each)]:
                raise UserError(f"data.hub_id={self.hub_id}: column text of {stray[0]} holds no texts; choose another")
        examples = {
            name: [(block, Example(block, (block,))) for block in self._blocks(each)] for name, each in texts.items()
        }
        return splits_of(examples, names, self.shares, self.seed, key)

    def _blocks(self, texts: Sequence[str]) -> list[str]:
        """Lines that have text, joined while they fit; a block ends where an article's title (` = Title = `) begins."""
        blocks: list[str] = []
        for line in (text.strip() for text in texts):
            if not line:
                continue
            title = line.startswith("= ") and not line.startswith("= =")
            if blocks and not title and len(blocks[-1]) + 1 + len(line) <= self.block:
                blocks[-1] += "\n" + line
            else:
                blocks.append(line)
        return blocks


def _read(path: Path) -> list[str]:
    text = read_text(path, absent="no such file; data.files names the files in data.path")
    if not text.strip():
        raise UserError(f"{path}: has no text; fill it, or name another file in data.files")
    return lines(text)
