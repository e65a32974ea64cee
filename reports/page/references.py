"""Inputs and references of test examples: of the embedded data, and of a file that the user names."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from harness.errors import UserError
from harness.results.scored import scored

Text = tuple[str, tuple[str, ...]]
"""An input and its references."""
FORMAT = "data, test_examples, index, input, references"
"""Fields of a line of the user's file, as `python -m harness references` writes them."""


@dataclass(frozen=True)
class References:
    """What is known of the test examples of some data."""

    whole: Mapping[str, Sequence[Text]] = field(default_factory=dict)
    """By SHA-256 of the data's content: its test split."""
    scored: Mapping[tuple[str, int | None], Mapping[int, Text]] = field(default_factory=dict)
    """By SHA-256 and number of scored examples: the example of each index."""

    def of(self, data: str, count: int | None) -> Mapping[int, Text]:
        """By index, the test examples of a run that scored `count` examples of this data; empty where unknown."""
        if count is None:
            return {}
        if (data, count) in self.scored:
            return self.scored[data, count]
        split = self.whole.get(data, ())
        places = scored(len(split), count) if count <= len(split) else []
        return {index: split[place] for index, place in enumerate(places)}


def embedded() -> References:
    """Of the embedded data in their default size and seed."""
    whole: dict[str, list[Text]] = defaultdict(list)
    text = files("reports.page").joinpath("assets/embedded.jsonl").read_text(encoding="utf-8")
    for line in map(json.loads, text.removesuffix("\n").split("\n")):
        whole[line["data"]].append((line["input"], tuple(line["references"])))
    return References(whole)


def with_file(known: References, path: Path) -> References:
    """`known` and the examples of a user's file. Raises UserError that names the line."""
    scored: dict[tuple[str, int | None], dict[int, Text]] = defaultdict(dict)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # a text may hold U+2028, at which splitlines cuts
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--references {path}: cannot be read ({error})") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            example = json.loads(line)
            texts = example["references"]
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in [example["input"], *texts]):
                raise TypeError("input is no text, or references no list of texts")
            place = (str(example["data"]), int(example["test_examples"]))
            scored[place][int(example["index"])] = (example["input"], tuple(texts))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"--references {path}:{number}: not an object of {FORMAT} ({error!r})") from None
    return References(known.whole, {**known.scored, **scored})
