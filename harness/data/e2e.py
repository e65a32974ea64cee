"""The E2E NLG challenge (Novikova et al. 2017, https://arxiv.org/abs/1706.09254)."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from harness.data import Example, Source, Splits
from harness.errors import UserError

FILES = {"train": "trainset.csv", "validation": "devset.csv", "test": "testset_w_refs.csv"}


class E2E(Source):
    """Meaning representations with up to 45 references each, from CSV files or from a hub id."""

    mr_form: ClassVar[bool] = True

    path: str | None
    """Folder with trainset.csv, devset.csv and testset_w_refs.csv, columns `mr,ref`."""
    hub_id: str | None
    """A data set of the hub with the columns `meaning_representation` and `human_reference`."""
    revision: str

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
        from datasets import load_dataset

        try:
            found = load_dataset(self.hub_id, revision=self.revision)
        except (OSError, ValueError, RuntimeError) as error:
            first = str(error).strip().splitlines()[0]
            raise UserError(
                f"data.hub_id={self.hub_id}: cannot be loaded ({first}); check the id and the network"
            ) from None
        columns = ("meaning_representation", "human_reference")
        for split in FILES:
            if split not in found or not set(columns) <= set(found[split].column_names):
                raise UserError(
                    f"data.hub_id={self.hub_id}: split {split} with the columns {', '.join(columns)} is missing"
                )
        return {split: list(zip(found[split][columns[0]], found[split][columns[1]], strict=True)) for split in FILES}


def read_pairs(path: Path, delimiter: str = ",") -> list[tuple[str, str]]:
    """Pairs of MR and reference of a CSV file with the columns `mr,ref`. Raises UserError with file and line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            if not {"mr", "ref"} <= set(reader.fieldnames or []):
                have = ", ".join(reader.fieldnames or []) or "none: the file is empty"
                raise UserError(f"{path}: needs the columns mr and ref, has {have}")
            pairs = []
            for row in reader:
                mr, reference = (row["mr"] or "").strip(), (row["ref"] or "").strip()
                if not mr or not reference:
                    lacks = "reference" if mr else "MR"
                    raise UserError(
                        f"{path}, line {reader.line_num}: there is no {lacks}; fill it in or remove the line"
                    )
                pairs.append((mr, reference))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; data.path names the folder with {', '.join(FILES.values())}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except (OSError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not pairs:
        raise UserError(f"{path}: has a header and no rows")
    return pairs


def group(pairs: Iterable[tuple[str, str]]) -> tuple[Example, ...]:
    """One example for each MR, in the order of first appearance, with its references in theirs."""
    references: dict[str, list[str]] = {}
    for source, reference in pairs:
        references.setdefault(source, []).append(reference)
    return tuple(Example(source, tuple(found)) for source, found in references.items())
