"""Finished runs as the commands after training take them, and what those commands have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import RunSettings, saved_settings
from harness.errors import UserError
from harness.results import Record, read_record, run_folder

USER_ERROR, INTERRUPTED = 2, 130


@dataclass(frozen=True)
class FinishedRun:
    """A run that ended well, with the settings it ran with."""

    folder: Path
    record: Record
    settings: RunSettings

    @property
    def adapter(self) -> Path:
        """The folder of the trained adapter."""
        return self.folder / "adapter"

    @property
    def name(self) -> str:
        """Label and id."""
        return f"{self.record.label} ({self.record.id})"


def finished_run(given: str, results: Path) -> FinishedRun:
    """The run in the folder `given`, or with that id in `results`. Loads no model. Raises UserError where it has not
    ended well, or kept no adapter."""
    places = (Path(given), run_folder(results, given))
    folder = next((path for path in places if (path / "record.json").is_file()), None)
    if folder is None:
        raise UserError(f"{given}: neither the folder of a run nor the id of one in {results}; see --results")
    record = read_record(folder / "record.json")
    if record.status != "ok":
        raise UserError(f"{given}: the run ended as {record.status}, not ok; run it again")
    again = "run it again with force=true"
    try:
        settings = saved_settings(folder / "config.json")
    except FileNotFoundError:
        raise UserError(f"{given}: kept no config.json, as an earlier version made it; {again}") from None
    except UserError as error:
        raise UserError(f"{folder / 'config.json'}: {error.problems[0]} ({again})") from None
    found = FinishedRun(folder, record, settings)
    if not any(path.is_file() for path in found.adapter.glob("*")):
        raise UserError(f"{given}: {record.label} keeps no adapter; name a run of a method that does, such as lora")
    model = settings.model
    base = {"name": model.name, "attention": model.attention} | model.identity()
    if base != record.key["model"]:
        raise UserError(f"{given}: {model.name} is not the model any more that it was trained on; {again}")
    return found


def prepare(settings: RunSettings) -> None:
    """Compute on as many threads as the run did, and keep what libraries say out of the output."""
    import logging

    import torch
    import transformers.utils.logging as chatter

    from harness.environment import usable_cores

    chatter.disable_progress_bar()  # type: ignore[no-untyped-call]
    chatter.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    torch.set_num_threads(settings.threads or usable_cores())


def tell(line: str) -> None:
    """Say on stderr how far a command is."""
    print(line, file=sys.stderr, flush=True)


def markdown_table(rows: Sequence[dict[str, Any]]) -> str:
    """A pipe table, one row a dictionary; numbers are given as text."""
    import pandas as pd

    aligned = ["left"] + ["right"] * (len(rows[0]) - 1)
    return str(pd.DataFrame(rows).to_markdown(index=False, tablefmt="pipe", colalign=aligned, disable_numparse=True))


def command(main: Callable[[], None]) -> int:
    """Run a command; its exit code: 0, 2 with a line for each thing that the user can put right, 130 interrupted."""
    try:
        main()
    except UserError as error:
        print(*(f"error: {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
