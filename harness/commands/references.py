"""Inputs and references of a run's test examples, for a page of one's own: `python -m harness references RUN …`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from harness import data
from harness.config.validate import saved_settings
from harness.data import Source
from harness.errors import Parser, UserError
from harness.files import write_atomically
from harness.results.folder import RunFolder

DESCRIPTION = """\
Write the inputs and references that finished runs were scored on, one JSON object a line: `data` (the SHA-256 of the
data's content, as in the record), `test_examples` (how many were scored), `index` (of this one among them), `input`,
`references`. Records hold no inputs and references; `python -m reports page --references FILE` shows them beside the
predictions."""


def main(arguments: list[str]) -> None:
    """Write the file. Raises UserError."""
    parser = Parser(prog="python -m harness references", description=DESCRIPTION)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder or id of a run")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="where to write them")
    options = parser.parse_args(arguments)
    lines: dict[str, None] = {}
    for name in options.runs:
        places = (RunFolder(Path(name)), RunFolder.of(options.results, name))
        config = next((place.config for place in places if os.path.isfile(place.config)), None)
        if config is None:
            raise UserError(f"{name}: not a run with a config.json, in {options.results} or as a folder; see --results")
        settings = saved_settings(config)
        lines |= dict.fromkeys(test_lines(settings.data, settings.eval.test_examples))
    try:
        write_atomically(options.output, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise UserError(f"--output {options.output}: cannot be written ({error.strerror})") from None


def test_lines(source: Source, most: int | None) -> Iterable[str]:
    """A line for each test example that a run scores, `most` of each task or (None) all. Raises UserError."""
    from harness.data.splits import by_task

    splits, content = data.load(source)
    scored = by_task(splits.test, most)
    for index, example in enumerate(scored):
        fields = {"data": content, "test_examples": len(scored), "index": index}
        fields |= {"input": example.source, "references": example.references}
        yield json.dumps(fields, ensure_ascii=False)
