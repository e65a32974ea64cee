"""Sources whose rows or texts lie in files, or in a data set of the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field

from harness.data import Source
from harness.data.splits import Names, Shares, places
from harness.data.tables import Row, read_hub, read_table
from harness.errors import UserError
from harness.notices import say
from harness.settings import Name

Read = TypeVar("Read")


class UnfitRow(UserError):
    """A row that cannot be trained on or scored, whatever the templates are."""


class Stored(Source):
    """Where a source's splits come from."""

    places_named: ClassVar[str] = "data.path=FOLDER, data.path=FILE"
    """How the files may be given, for messages."""

    path: Name | None
    """Folder of the files, or one file that all splits share; None: from the hub."""
    files: Names
    hub_id: Name | None
    """A data set of the hub, or a local folder with the same layout."""
    hub_name: Name | Annotated[tuple[Name, ...], Field(strict=False, min_length=1)] | None
    """Which configuration of the data set, or several, whose rows are read one after another; None: its only one."""
    revision: Name
    hub_splits: Names
    shares: Shares
    """Of splits that name the same place."""
    seed: int
    """Divides between splits that share a place."""
    unfit: Literal["error", "leave_out"] = "error"
    """What becomes of a row without an answer, or whose conversation cannot be trained on: it is refused, or left out,
    and how many were is said."""

    def problems(self) -> list[str]:
        lines = super().problems()
        if self.path is None and self.hub_id is None:
            lines.append(f"data={self.name}: give {self.places_named} or data.hub_id=…")
        return lines

    def fit(self, name: str, rows: Sequence[Row], read: Callable[[Row, str], Read]) -> list[Read]:
        """What `read` makes of each row and its place. Raises UserError for the first row that it refuses, or where all
        are refused."""
        made, refused = [], []
        for number, row in enumerate(rows, 1):
            try:
                made.append(read(row, f"{name}, row {number}"))
            except UnfitRow as error:
                refused.append(error)
                if self.unfit == "error":
                    break
        if refused and (self.unfit == "error" or not made):
            raise refused[0]
        if refused:
            say(f"data={self.name}: {len(refused)} of {len(rows)} rows are left out; the first: {refused[0]}")
        return made

    def tables(self, columns: Sequence[str] | None = None) -> tuple[dict[str, list[Row]], Names, str]:
        """The rows by the name of their place, those names by split, and the setting that has them. `columns`: names of
        those of csv and tsv files that have no line of them. Raises UserError."""
        if self.path is not None:
            folder, names = places(self.path, self.files)
            return {name: read_table(folder, name, columns) for name in names.distinct()}, names, "data.files"
        assert self.hub_id is not None
        names = self.hub_splits
        configurations = self.hub_name if isinstance(self.hub_name, tuple) else (self.hub_name,)
        read = [read_hub(self.hub_id, each, self.revision, names.distinct()) for each in configurations]
        return {name: [row for each in read for row in each[name]] for name in read[0]}, names, "data.hub_splits"
