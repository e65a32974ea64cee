"""Inputs and references of a run's test examples, for a page of one's own: `python -m harness.references RUN …`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from harness import data
from harness.config import saved_settings
from harness.data import Source
from harness.errors import UserError
from harness.finished import command
from harness.results import run_folder, write_atomically

DESCRIPTION = """\
Write the inputs and references that finished runs were scored on, one JSON object a line: `data` (the SHA-256 of the
data's content, as in the record), `test_examples` (how many were scored), `index` (of this one among them), `input`,
`references`. Records hold no inputs and references; `python -m reports page --references FILE` shows them beside the
predictions."""


def main() -> None:
    """Write the file. Raises UserError."""
    parser = argparse.ArgumentParser(prog="python -m harness.references", description=DESCRIPTION)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder or id of a run")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="where to write them")
    options = parser.parse_args()
    lines: dict[str, None] = {}
    for given in options.runs:
        places = (Path(given), run_folder(options.results, given))
        folder = next((path for path in places if (path / "config.json").is_file()), None)
        if folder is None:
            raise UserError(
                f"{given}: not a run with a config.json, in {options.results} or as a folder; see --results"
            )
        settings = saved_settings(folder / "config.json")
        lines |= dict.fromkeys(test_lines(settings.data, settings.eval.test_examples))
    try:
        write_atomically(options.output, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise UserError(f"--output {options.output}: cannot be written ({error.strerror})") from None


def test_lines(source: Source, most: int | None) -> Iterable[str]:
    """A line for each test example that a run scores, `most` of each task or (None) all. Raises UserError."""
    from harness.task import by_task

    splits, content = data.load(source)
    scored = by_task(splits.test, most)
    for index, example in enumerate(scored):
        told = {"data": content, "test_examples": len(scored), "index": index}
        told |= {"input": example.source, "references": example.references}
        yield json.dumps(told, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(command(main))
