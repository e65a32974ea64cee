"""Data sets of several tasks, in small."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from harness.config.compose import explain
from harness.config.run_settings import RunSettings
from harness.config.validate import settings_from
from harness.errors import UserError
from harness.places import CONF
from tests.support.tiny import SMALL

BARE = [override for override in SMALL if not override.startswith("data.")]


def chosen(*overrides: str) -> RunSettings:
    """Typed settings of a tiny run on other data than the embedded ones."""
    with initialize_config_dir(str(CONF), version_base=None):
        return settings_from(compose("config", [*BARE, *overrides]))


def problems(*overrides: str) -> tuple[str, ...]:
    """What is said of these settings and their data before a model is loaded."""
    try:
        chosen(*overrides).run_id()
    except UserError as error:
        return error.problems
    except HydraException as error:
        return explain(error, [*BARE, *overrides]).problems
    return ()


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


JSONL = ("data=jsonl", "data.prompt='Q: {{ q }}'", "data.answer='{{ a }}'")


HUB = "---\nconfigs:\n- config_name: {}\n  data_files:\n" + "".join(
    f"  - split: {split}\n    path: {split}.parquet\n" for split in ("train", "validation", "test")
)


def hub(folder: Path, name: str, rows: dict[str, list[dict[str, object]]]) -> str:
    """A folder laid out as a data set of the hub with one named configuration."""
    (folder / "README.md").write_text(HUB.format(name) + "---\n")
    for split, each in rows.items():
        pd.DataFrame(each).to_parquet(folder / f"{split}.parquet")
    return f"data.hub_id={folder}"
