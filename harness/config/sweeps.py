"""Sweeps: files of grids, what a command line asks for, and the lists of runs that they give."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.config.compose import composing, explain, refuse_no_choice
from harness.config.narrowing import narrowed
from harness.config.validate import describe
from harness.errors import UserError, first_line, nearest
from harness.files import hash_of
from harness.places import sweep_folders
from harness.settings import Name

GIVEN = "HARNESS_GIVEN"
"""Environment variable in which the command line hands a sweep's overrides to the sweeper, as a JSON list."""

COUNTED = 1_000_000
"""Values of one override that are counted: of more it does not matter how many there are."""
MAX_POINTS = 2000
"""A sweep of more points is refused: it is more often a slip than a wish."""
READABLE = 48
"""Letters of a made name that are there to be read."""
NOT_ABOUT = ("results=", "force=", "tracker", "hydra.")
"""Beginnings of overrides that say nothing of what is run."""


@dataclass(frozen=True)
class SweepFile:
    """A named sweep: its question and its grids of overrides in Hydra's grammar."""

    name: str
    question: str
    overrides: tuple[str, ...]
    """Given to every point."""
    grids: tuple[tuple[str, ...], ...]


SHAPE = "it needs `question: …` and `grids: [[key=value, …], …]`, may have `overrides: [key=value, …]` and `tune: lr`"


class _Content(BaseModel):
    """What a sweep's file holds."""

    model_config = ConfigDict(extra="forbid")

    question: Name
    overrides: list[str] = []
    tune: str | dict[str, Any] | None = None
    grids: Annotated[list[list[str]], Field(min_length=1)]


def read_sweep_file(name: str) -> SweepFile:
    """The sweep sweeps/NAME.yaml, or that of a file whose path is given. Raises UserError with the nearest name, or
    with what the file lacks."""
    path = next((path for path in (each / f"{name}.yaml" for each in sweep_folders()) if path.is_file()), None)
    if path is None and name.endswith((".yaml", ".yml")):
        path, name = Path(name), Path(name).stem
        if not path.is_file():
            raise UserError(f"+sweep={path}: there is no such file")
    if path is None:
        raise UserError(f"+sweep={name}: there is none; {nearest(name, sweep_names())}")
    try:
        content = _Content.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is no YAML ({first_line(error)})") from None
    except ValidationError as error:
        wrong = next(iter(describe(error, (), list(_Content.model_fields)).values()))  # others may follow from it
        raise UserError(f"{path}: is no file of a sweep: {wrong}; {SHAPE}") from None
    return SweepFile(
        name, content.question.strip(), (*content.overrides, *_tuning(content.tune)), tuple(map(tuple, content.grids))
    )


def _tuning(section: str | Mapping[str, Any] | None) -> list[str]:
    """The overrides of a file's `tune`: a choice such as `lr`, or the settings that differ from those of `lr`."""
    if section is None or isinstance(section, str):
        return [] if section is None else [f"tune={section}"]
    return ["tune=lr", *(f"tune.{name}={_in_grammar(value)}" for name, value in section.items())]


def _in_grammar(value: Any) -> str:
    """A value of YAML in the grammar of overrides."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_in_grammar(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_in_grammar, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)


def asked_for(arguments: Sequence[str]) -> tuple[SweepFile, list[str]]:
    """The sweep that `+sweep=NAME` names, or one made of the arguments; and what is given besides. Raises UserError."""

    named = [a.removeprefix("+sweep=") for a in arguments if a.startswith("+sweep=")]
    overrides = [a for a in arguments if not a.startswith("+sweep=")]
    if len(named) > 1:
        raise UserError("+sweep: one sweep at a time")
    if named:
        return read_sweep_file(named[0]), overrides
    about = [a for a in overrides if not a.startswith(NOT_ABOUT)]
    return SweepFile(name_of(about), " ".join(about), (), ((),)), overrides


def name_of(overrides: Sequence[str]) -> str:
    """A name for a sweep without a file: what it varies, to be read, and a hash of all overrides, in any order."""

    several = [word for word in overrides if "," in word] or list(overrides)
    words = (word.partition("=") for word in several)
    text = "_".join(f"{key.rpartition('.')[2]}-{value}" for key, _, value in words)
    return f"{re.sub(r'[^A-Za-z0-9_]+', '-', text).strip('-_')[:READABLE]}-{hash_of(sorted(overrides))[:6]}".lstrip(
        "-_"
    )


def expand(file: SweepFile, more: Sequence[str], loader: ConfigLoader, max_points: int) -> dict[tuple[str, ...], int]:
    """The overrides of every point, each with the number of its grid. What is given on the command line goes to all of
    them that know it, and wins; `tune=none` over all that the file says of tuning."""

    def check(count: int) -> None:
        if count > max_points:
            raise UserError(
                f"{count:,} points are more than {max_points:,}; narrow the sweep, "
                f"or allow it with hydra.sweeper.max_points={count}"
            )

    parser = OverridesParser.create(config_loader=loader)
    given = {override.get_key_element() for override in parser.parse_overrides(list(more))}

    def untuned(row: tuple[str, ...]) -> tuple[str, ...]:
        """Of `tune=none` without what the file says of tuning."""
        if "tune=none" not in row:
            return row
        return tuple(word for word in row if not word.startswith("tune.") or word.partition("=")[0] in given)

    rows: dict[tuple[str, ...], int] = {}
    for number, grid in enumerate(file.grids):
        merged = {}
        overrides = parser.parse_overrides([*file.overrides, *grid, *more])
        refuse_no_choice(overrides)
        for override in overrides:
            merged[override.get_key_element()] = override
        expanded: list[tuple[str, ...]] = [()]
        for key, override in merged.items():
            if override.is_delete() or not override.is_sweep_override():
                values = [override.input_line or ""]
            else:
                values = [f"{key}={value}" for value in islice(override.sweep_string_iterator(), COUNTED)]
            if not values:
                raise UserError(f"{override.input_line}: matches nothing; see conf/{key} for what there is")
            check(len(values) * len(expanded))
            expanded = [(*row, value) for value in values for row in expanded]
        rows |= {row: number for row in map(untuned, expanded) if row not in rows}
    check(len(rows))
    return narrowed(rows, more, loader)


def points(arguments: list[str], many: bool) -> list[list[str]]:
    """The overrides of each point that arguments ask for, as a sweep where `many`. Raises UserError."""
    if not many:
        return [arguments]
    words = [a for a in arguments if not a.startswith("hydra.")]
    limits = [a.partition("=")[2] for a in arguments if a.startswith("hydra.sweeper.max_points=")]
    if limits and not re.fullmatch("[0-9]{1,9}", limits[-1]):
        raise UserError(f"hydra.sweeper.max_points={limits[-1]}: must be a number of points such as 5000")
    limit = int(limits[-1]) if limits else MAX_POINTS
    file, rest = asked_for(words)
    try:
        with composing():
            rows = expand(file, rest, GlobalHydra.instance().config_loader(), limit)
    except HydraException as error:
        raise explain(error, rest) from None
    return [list(row) for row in rows]


def sweep_names() -> list[str]:
    """The sweeps that exist: files under sweeps/, the project's and one's own."""
    names = (
        path.relative_to(folder).with_suffix("").as_posix()
        for folder in sweep_folders()
        for path in folder.rglob("*.yaml")
    )
    return sorted(name for name in names if not name.startswith("wandb/"))
