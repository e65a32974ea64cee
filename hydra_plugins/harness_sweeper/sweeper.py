"""A sweep is a list of grids of overrides, since a rank means nothing to a method that has none.

`+sweep=NAME` reads sweeps/NAME.yaml; every point is checked before the first one runs; any Hydra launcher runs them.
"""
# No `from __future__ import annotations`: Hydra executes a plugin so that dataclasses cannot resolve it.

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from omegaconf import errors as omegaconf_errors


@dataclass
class HarnessSweeperConf:
    """Settings of the sweeper: `hydra.sweeper.…`."""

    _target_: str = "hydra_plugins.harness_sweeper.sweeper.HarnessSweeper"
    dry_run: bool = False
    """Print the points and what is already done, and run nothing."""
    max_points: int = 2000
    """A sweep of more points is refused: it is more often a slip than a wish."""
    name: Any = None
    """What its runs are asked for under, and its report is called: by default `+sweep`'s, or made of the overrides."""


ConfigStore.instance().store(group="hydra/sweeper", name="harness", node=HarnessSweeperConf, provider="harness")


NAME = re.compile(r"[\w+-][\w.+-]*(/[\w+-][\w.+-]*)*")
"""What a sweep may be called."""
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


def read_sweep_file(name: str) -> SweepFile:
    """The sweep sweeps/NAME.yaml. Raises UserError with the nearest name, or with what the file lacks."""
    import yaml

    from harness.config import SWEEPS, sweep_names
    from harness.errors import UserError, nearest

    if name not in sweep_names():
        raise UserError(f"+sweep={name}: there is none; {nearest(name, sweep_names())}")
    path = SWEEPS / f"{name}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    unknown = set(content or {}) - {"question", "overrides", "grids"}
    if not content or unknown or not content.get("question") or not content.get("grids"):
        raise UserError(f"{path}: needs `question` and `grids`, may have `overrides`; unknown: {sorted(unknown)}")
    grids = tuple(tuple(map(str, grid)) for grid in content["grids"])
    return SweepFile(name, content["question"].strip(), tuple(map(str, content.get("overrides") or ())), grids)


def asked_for(arguments: Sequence[str]) -> tuple[SweepFile, list[str]]:
    """The sweep that `+sweep=NAME` names, or one made of the arguments; and what is given besides. Raises UserError."""
    from harness.errors import UserError

    named = [a.removeprefix("+sweep=") for a in arguments if a.startswith("+sweep=")]
    given = [a for a in arguments if not a.startswith("+sweep=")]
    if len(named) > 1:
        raise UserError("+sweep: one sweep at a time")
    if named:
        return read_sweep_file(named[0]), given
    about = [a for a in given if not a.startswith(NOT_ABOUT)]
    return SweepFile(name_of(about), " ".join(about), (), ((),)), given


def name_of(overrides: Sequence[str]) -> str:
    """A name for a sweep without a file: what it varies, to be read, and a hash of all overrides, in any order."""
    from harness.results import hash_of

    several = [word for word in overrides if "," in word] or list(overrides)
    words = (word.partition("=") for word in several)
    said = "_".join(f"{key.rpartition('.')[2]}-{value}" for key, _, value in words)
    return f"{re.sub(r'[^A-Za-z0-9_]+', '-', said).strip('-_')[:READABLE]}-{hash_of(sorted(overrides))[:6]}".lstrip(
        "-_"
    )


def checked(name: str) -> str:
    """A name that someone gave a sweep, which becomes that of a file. Raises UserError."""
    from harness.errors import UserError
    from harness.results import ASKING

    if not NAME.fullmatch(name) or ASKING.fullmatch(name):
        raise UserError(
            f"hydra.sweeper.name={name}: cannot be a name; use letters, digits, `_`, `-`, and `/` for folders"
        )
    return name


def expand(file: SweepFile, given: Sequence[str], loader: ConfigLoader, max_points: int) -> dict[tuple[str, ...], int]:
    """The overrides of every point, each with the number of its grid. What is given on the command line goes to all of
    them and wins."""
    from harness.errors import UserError

    def check(count: int) -> None:
        if count > max_points:
            raise UserError(
                f"{count:,} points are more than {max_points:,}; narrow the sweep, "
                f"or allow it with hydra.sweeper.max_points={count}"
            )

    parser = OverridesParser.create(config_loader=loader)
    rows: dict[tuple[str, ...], int] = {}
    for number, grid in enumerate(file.grids):
        merged = {}
        for override in parser.parse_overrides([*file.overrides, *grid, *given]):
            merged[override.get_key_element()] = override
        expanded: list[tuple[str, ...]] = [()]
        for key, override in merged.items():
            if override.is_delete() or not override.is_sweep_override():
                values = [override.input_line or ""]
            else:
                values = [f"{key}={value}" for value in override.sweep_string_iterator()]
            check(len(values) * len(expanded))
            expanded = [(*row, value) for value in values for row in expanded]
        rows |= {row: number for row in expanded if row not in rows}
    check(len(rows))
    return rows


class HarnessSweeper(Sweeper):
    """Expands grids, checks every point, skips what is done, and hands the rest to the launcher."""

    config: DictConfig

    def __init__(self, dry_run: bool, max_points: int, name: str | None) -> None:
        self.dry_run, self.max_points, self.name = dry_run, max_points, name

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.config = hydra_context, config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep. Ends the process with 1 where a run failed; raises UserError before anything has run."""
        from harness.asked import UNTOLD
        from harness.config import GIVEN
        from harness.errors import UserError
        from harness.gpus import equal_gpus
        from harness.progress import SweepView
        from harness.results import read_sweep, write_sweep
        from harness.tracking import log_sweep

        arguments = json.loads(os.environ.get(GIVEN, "null")) or arguments
        file, given = asked_for(arguments)
        if self.name is not None:
            file = replace(file, name=checked(str(self.name)))
        rows = expand(file, given, self.context.config_loader, self.max_points)
        points, results, tracker = self._check(list(rows))
        if self.dry_run:
            for point in points:
                print(f"{'done' if point.done else 'to do':6} {point.run:32} {point.label:28} {point.overrides}")
            print(f"{sum(p.done for p in points)} of {len(points)} done in {results}")
            return None
        runs = [
            {"id": p.run, "label": p.label, "overrides": p.overrides, "grid": grid}
            for p, grid in zip(points, rows.values(), strict=True)
        ]
        try:
            write_sweep(results, file.name, file.question, runs)
            earlier = len(read_sweep([results], file.name)["runs"]) - len({run["id"] for run in runs})
        except OSError as error:
            why = error.strerror or error
            raise UserError(
                f"results={results}: cannot be written ({why}); free space, or choose another folder"
            ) from None
        todo = [list(row) for row, point in zip(rows, points, strict=True) if not point.done]
        print(f"sweep {file.name}: {len(points)} points, {len(points) - len(todo)} done before", file=sys.stderr)
        try:
            if not todo:
                return []
            os.environ["HARNESS_SWEEP"] = file.name  # W&B's group
            with SweepView(points, results):
                outcomes = self._launch(todo, len(equal_gpus()) if all(p.on_gpu for p in points if not p.done) else 1)
        finally:
            more = f" (in them too: {earlier} run{'s' * (earlier > 1)} of before)" if earlier else ""
            if not os.environ.get(UNTOLD):
                print(f"tables: python -m reports {file.name} --results {results}{more}", file=sys.stderr)
        return self._conclude(outcomes, lambda: log_sweep(file.name, results, tracker))

    def _launch(self, rows: list[list[str]], gpus: int) -> list[dict[str, Any]]:
        """Run points by the launcher that was chosen; where none was, as many at once as there are GPUs."""
        from harness.point import run_at_once

        count = min(gpus, len(rows))
        if count > 1 and self.config.hydra.runtime.choices["hydra/launcher"] == "basic":
            print(f"a run on each of {count} GPUs", file=sys.stderr)
            return run_at_once(rows, lambda row: self.context.config_loader.load_sweep_config(self.config, row), count)
        return [job.return_value for job in self.launcher.launch(rows, initial_job_idx=0)]

    def _check(self, rows: Sequence[tuple[str, ...]]) -> tuple[list[Any], Path, Any]:
        """Compose and check every point: its id, its label, and whether it is done; where results go, and the tracker.
        All problems at once."""
        from harness.config import explain, settings_from
        from harness.environment import resolve_device
        from harness.errors import UserError
        from harness.progress import Point
        from harness.results import finished

        points: list[Any] = []
        problems: list[str] = []
        results, tracker = Path(), None
        for row in rows:
            try:
                config = self.context.config_loader.load_sweep_config(self.config, list(row))
                settings = settings_from(config)
                results, tracker, run = Path(settings.results), settings.tracker, settings.run_id()
                done = not settings.force and finished(results, run) is not None
                overrides = " ".join(o for o in row if not o.startswith("results="))
                on_gpu = resolve_device(settings.device) == "cuda"
                points.append(Point(run, settings.label(), overrides, done, on_gpu))
            except UserError as error:
                problems += error.problems
            except (HydraException, omegaconf_errors.OmegaConfBaseException) as error:
                if not isinstance(error, HydraException):
                    error = HydraException(str(error))
                problems.append(str(explain(error, list(row))))
        if problems:
            raise UserError(*dict.fromkeys(problems))
        return points, results, tracker

    def _conclude(self, values: Sequence[dict[str, Any]], log: Callable[[], None]) -> Any:
        """Tell user errors, log the sweep, and end with 1 where a run failed."""
        from harness.errors import UserError

        problems = [line for value in values for line in value["problems"]]
        if problems:
            raise UserError(*dict.fromkeys(problems))
        if any(value["status"] == "interrupted" for value in values):
            raise KeyboardInterrupt
        log()
        if any(value["status"] != "ok" for value in values):
            sys.exit(1)
        return values
