"""Finished runs as the commands after training take them, and what those commands have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config.run_settings import RunSettings
from harness.config.validate import saved_settings
from harness.errors import UserError, memory_is_out, reason
from harness.host.own_code import own_code
from harness.results.checksums import changed
from harness.results.folder import RunFolder, read_record, run_id
from harness.results.record import Record
from harness.texts import json_object

AGAIN = "run it again with force=true"


@dataclass(frozen=True)
class FinishedRun:
    """A run that ended well, with the settings it ran with."""

    folder: Path
    record: Record
    settings: RunSettings

    @property
    def adapter(self) -> Path:
        """The folder of the trained adapter."""
        return RunFolder(self.folder).adapter

    @property
    def name(self) -> str:
        """Label and id."""
        return f"{self.record.label} ({self.record.id})"

    def adapted(self, base: Any) -> Any:
        """The base with the run's adapter. Raises UserError where that is not the one that the run kept."""
        import warnings

        try:
            refuse_no_numbers(self.adapter)
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=".*missing adapter keys")
                return self.settings.method.load(base, self.adapter)
        except Exception as error:  # a damaged file makes PEFT, safetensors and torch fail in ways of their own
            if isinstance(error, UserError):
                raise
            if memory_is_out(error):
                raise UserError(f"{self.adapter}: takes more memory than there is; look at its settings") from None
            raise UserError(f"{self.adapter}: cannot be loaded ({reason(error)}); {AGAIN}") from None


def finished_run(name_or_folder: str, results: Path) -> FinishedRun:
    """The run in this folder, or with this id in `results`. Loads no model. Raises UserError where it has not
    ended well, or kept no adapter."""
    places = (RunFolder(Path(name_or_folder)), RunFolder.of(results, name_or_folder))
    files = next((place for place in places if os.path.isfile(place.record)), None)
    if files is None:
        raise UserError(f"{name_or_folder}: neither the folder of a run nor the id of one in {results}; see --results")
    record = read_record(files.record)
    if record.status != "ok":
        raise UserError(f"{name_or_folder}: the run ended as {record.status}, not ok; run it again")
    if name := changed(files.path, "record.json", "config.json", "adapter/*"):
        raise UserError(f"{files.path / name}: not as the run left it; {AGAIN}")
    try:
        settings = saved_settings(files.config)
    except FileNotFoundError:
        raise UserError(f"{name_or_folder}: kept no config.json, as an earlier version made it; {AGAIN}") from None
    except UserError as error:
        place = str(files.config)
        problem = error.problems[0].removeprefix(f"{place}: ")
        raise UserError(f"{place}: {problem} ({AGAIN})") from None
    if settings.method.name != record.method:
        raise UserError(f"{files.config}: is of method={settings.method.name}, another run's; {AGAIN}")
    run = FinishedRun(files.path, record, settings)
    check_adapter(run, name_or_folder)
    model = settings.model
    base = {"name": model.name, "attention": model.attention} | model.identity()
    if base != record.key.get("model"):
        raise UserError(f"{name_or_folder}: {model.name} is not the model any more that it was trained on; {AGAIN}")
    if run_id(record.method, record.key) != record.id:
        raise UserError(f"{files.record}: its settings are not those of the run that its id names; {AGAIN}")
    trained_by = record.flat_key.get("settings.method.own_code")  # runs of before it was a part of keys have none
    if trained_by not in (None, own_code([type(settings.method).__module__])):
        tell(f"warning: {run.name}: the code of its method has changed since it was trained")
    return run


def check_adapter(run: FinishedRun, name: str) -> None:
    """Raise UserError where the run keeps no adapter, or one that is not as large as it was, or has no settings."""
    if not any(path.is_file() for path in run.adapter.glob("*")):
        raise UserError(f"{name}: {run.record.label} keeps no adapter; name a run of a method that does, such as lora")
    files = [path for path in run.adapter.rglob("*") if path.suffix in {".safetensors", ".bin"}]
    size = sum(path.stat().st_size for path in files)
    recorded = run.record.parameters and run.record.parameters.adapter_bytes
    if recorded is not None and size != recorded:
        raise UserError(f"{run.adapter}: holds {size:,} bytes of weights, the run kept {recorded:,}; {AGAIN}")
    if (path := run.adapter / "adapter_config.json").exists():
        json_object(path)


def refuse_no_numbers(adapter: Path) -> None:
    """Raise UserError where weights of an adapter are NaN or infinite, as no finished run's are."""
    from safetensors.torch import load_file

    for path in sorted(adapter.glob("*.safetensors")):
        bad = [n for n, each in load_file(path).items() if each.is_floating_point() and not each.isfinite().all()]
        if bad:
            raise UserError(f"{path}: {bad[0]} holds values that are no numbers; {AGAIN}")


def prepare(settings: RunSettings) -> None:
    """Compute on as many threads as the run did, and keep what libraries say out of the output."""
    import torch
    import transformers.utils.logging as chatter

    from harness.host.environment import usable_cores

    chatter.disable_progress_bar()  # type: ignore[no-untyped-call]
    chatter.set_verbosity_error()  # type: ignore[no-untyped-call]
    torch.set_num_threads(settings.threads or usable_cores())


def tell(line: str) -> None:
    """Say on stderr how far a command is."""
    print(line, file=sys.stderr, flush=True)


def markdown_table(rows: Sequence[dict[str, Any]]) -> str:
    """A pipe table, one row a dictionary; numbers are given as text."""
    import pandas as pd

    aligned = ["left"] + ["right"] * (len(rows[0]) - 1)
    return str(pd.DataFrame(rows).to_markdown(index=False, tablefmt="pipe", colalign=aligned, disable_numparse=True))
