"""The E2E NLG challenge (Novikova et al. 2017, https://arxiv.org/abs/1706.09254)."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from harness.data import Example, Source, Splits
from harness.data.tables import read_hub
from harness.errors import UserError
from harness.settings import Name
from harness.texts import read_text, refuse_twins, table

FILES = {"train": "trainset.csv", "validation": "devset.csv", "test": "testset_w_refs.csv"}


class E2E(Source):
    """Meaning representations with up to 45 references each, from CSV files or from a hub id."""

    mr_form: ClassVar[bool] = True

    path: Name | None
    """Folder with trainset.csv, devset.csv and testset_w_refs.csv, columns `mr,ref`."""
    hub_id: Name | None
    """A data set of the hub with the columns `meaning_representation` and `human_reference`."""
    revision: Name

    def load(self) -> Splits:
        if (self.path is None) == (self.hub_id is None):
            raise UserError("data=e2e: give data.path=FOLDER (with its three CSV files) or data.hub_id=…, not both")
        if self.path is not None:
            pairs = {split: read_pairs(Path(self.path) / name) for split, name in FILES.items()}
        else:
            pairs = self._from_hub()
        grouped = {split: group(rows) for split, rows in pairs.items()}
        # The official files share no MR between splits; a rebuilt set might, and a test MR must not be trained on.
        held_out = {example.source for split in ("validation", "test") for example in grouped[split]}
        train = tuple(example for example in grouped["train"] if example.source not in held_out)
        return Splits(train=train, validation=grouped["validation"], test=grouped["test"])

    def _from_hub(self) -> dict[str, list[tuple[str, str]]]:
        assert self.hub_id is not None
        columns = ("meaning_representation", "human_reference")
        pairs: dict[str, list[tuple[str, str]]] = {}
        for split, rows in read_hub(self.hub_id, None, self.revision, list(FILES)).items():
            place = f"data.hub_id={self.hub_id}, {split}"
            if not set(columns) <= rows[0].keys():
                raise UserError(f"{place}: lacks the columns {', '.join(columns)}; choose another data set")
            pairs[split] = [
                _pair(str(row[columns[0]]), str(row[columns[1]]), f"{place}, row {number}")
                for number, row in enumerate(rows, 1)
            ]
        return pairs


def read_pairs(path: Path, delimiter: str = ",") -> list[tuple[str, str]]:
    """Pairs of MR and reference of a CSV file with the columns `mr,ref`. Raises UserError with file and line."""
    text = read_text(path, absent=f"no such file; data.path names the folder with {', '.join(FILES.values())}")
    try:
        numbered = table(text, delimiter)
        names = next(numbered, (0, []))[1]
        if not {"mr", "ref"} <= set(names):
            raise UserError(
                f"{path}: needs the columns mr and ref, has {', '.join(names) or 'none: the file is empty'}"
            )
        refuse_twins(names, f"{path}, line 1")
        pairs = []
        for number, cells in numbered:
            row = dict.fromkeys(names, "") | dict(zip(names, cells, strict=False))
            pairs.append(_pair(row["mr"], row["ref"], f"{path}, line {number}"))
    except csv.Error as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not pairs:
        raise UserError(f"{path}: has a header and no rows")
    return pairs


def _pair(mr: str, reference: str, place: str) -> tuple[str, str]:
    """Both without white space around them. Raises UserError where one is missing."""
    mr, reference = mr.strip(), reference.strip()
    if not mr or not reference:
        raise UserError(f"{place}: there is no {'reference' if mr else 'MR'}; fill it in or remove the line")
    return mr, reference


def group(pairs: Iterable[tuple[str, str]]) -> tuple[Example, ...]:
    """One example for each MR, in the order of first appearance, with its references in theirs."""
    references: dict[str, list[str]] = {}
    for source, reference in pairs:
        references.setdefault(source, []).append(reference)
    return tuple(Example(source, tuple(texts)) for source, texts in references.items())
