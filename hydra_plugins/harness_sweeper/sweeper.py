"""A sweep is a list of grids of overrides, since a rank means nothing to a method that has none.

`+sweep=NAME` reads sweeps/NAME.yaml; every point is checked before the first one runs; any Hydra launcher runs them.
"""
# No `from __future__ import annotations`: Hydra executes a plugin so that dataclasses cannot resolve it.

import contextlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf import errors as omegaconf_errors


@dataclass
class HarnessSweeperConf:
    """Settings of the sweeper: `hydra.sweeper.…`."""

    _target_: str = "hydra_plugins.harness_sweeper.sweeper.HarnessSweeper"
    dry_run: bool = False
    """Print the points and what is already done, and run nothing."""
    max_points: Optional[int] = None  # noqa: UP045  # Hydra reads it
    """2000 by default. A sweep of more points is refused: it is more often a slip than a wish."""
    name: Any = None
    """What its runs are asked for under, and its report is called: by default `+sweep`'s, or made of the overrides."""


MOVED = (
    "are recorded under other ids than this machine gives them, since another processor, GPU, number of threads or "
    "code of one's own makes another run"
)

THERE = " A cluster of Ray runs here; ++hydra.launcher.ray.init.address=auto uses it, =local this machine alone"


def _elsewhere(runs: Sequence[str], outcomes: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Of runs, by their ids on this machine, those ids that are others where a launcher ran them."""
    return {run: told["id"] for run, told in zip(runs, outcomes, strict=True) if told.get("id", run) != run}


ConfigStore.instance().store(group="hydra/sweeper", name="harness", node=HarnessSweeperConf, provider="harness")


class HarnessSweeper(Sweeper):
    """Expands grids, checks every point, skips what is done, and hands the rest to the launcher."""

    config: DictConfig

    def __init__(self, dry_run: bool, max_points: int | None, name: str | None) -> None:
        self.dry_run, self.max_points, self.name = dry_run, max_points, name
        self._composed: dict[tuple[str, ...], Any] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.config = hydra_context, config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep. Ends the process with 1 where a run failed; raises UserError before anything has run."""
        from harness.config.beforehand import before_sweep
        from harness.config.sweeps import GIVEN, MAX_POINTS, asked_for, expand
        from harness.launch.tuning import Tuning
        from harness.notices import say
        from harness.results.sweep_files import UNTOLD, checked_name
        from harness.run.tracking import log_sweep

        self._check_launcher()
        arguments = json.loads(os.environ.get(GIVEN, "null")) or arguments
        file, overrides = asked_for(arguments)
        if self.name is not None:
            file = replace(file, name=checked_name("hydra.sweeper.name", str(self.name)))
        rows = expand(file, overrides, self.context.config_loader, self.max_points or MAX_POINTS)
        points, results, tracker = self._check(list(rows))
        tuned = Tuning(self._settings, self._try_out, self.dry_run).points(rows)
        if tuned is not None:
            rows = {row: grid for row, (grid, _) in tuned.items()}
            points, results, tracker = self._check(list(rows))
        if self.dry_run:
            for point in points:
                print(f"{'done' if point.done else 'to do':6} {point.run:32} {point.label:28} {point.overrides}")
            print(f"{sum(p.done for p in points)} of {len(points)} done in {results}")
            return None
        runs = [
            {"id": p.run, "label": p.label, "overrides": p.overrides, "grid": grid}
            | ({"tuned": how.model_dump()} if tuned and (how := tuned[row][1]) else {})
            for p, (row, grid) in zip(points, rows.items(), strict=True)
        ]
        listing, earlier = self._list(results, file, runs)
        todo = [list(row) for row, point in zip(rows, points, strict=True) if not point.done]
        print(f"sweep {file.name}: {len(points)} points, {len(points) - len(todo)} done before", file=sys.stderr)
        for line in before_sweep([self._settings(row) for row in rows], tuned is not None) if todo else ():
            say(line)
        try:
            if not todo:
                return []
            os.environ["HARNESS_SWEEP"] = file.name  # W&B's group
            outcomes = self._launch_shown(todo, points, results)
            if moved := _elsewhere([point.run for point in points if not point.done], outcomes):
                print(f"warning: {len(moved)} of {len(todo)} runs {MOVED}; they are listed so", file=sys.stderr)
                listing.unlink()
                as_recorded = [run | {"id": moved.get(run["id"], run["id"])} for run in runs]
                _, earlier = self._list(results, file, as_recorded)
        finally:
            more = f" (in them too: {earlier} run{'s' * (earlier > 1)} of before)" if earlier else ""
            if not os.environ.get(UNTOLD):
                print(f"tables: python -m reports {file.name} --results {results}{more}", file=sys.stderr)
        return self._conclude(outcomes, lambda: log_sweep(file.name, results, tracker))

    def _list(self, results: Path, file: Any, runs: Sequence[dict[str, Any]]) -> tuple[Path, int]:
        """Write down what a sweep consists of. The file, and how many other runs were asked for under its name before.
        Raises UserError."""
        from harness.errors import UserError
        from harness.results.sweep_files import read_sweep, write_sweep

        try:
            written = write_sweep(results, file.name, file.question, runs)
            return written, len(read_sweep([results], file.name)["runs"]) - len({run["id"] for run in runs})
        except OSError as error:
            why = error.strerror or error
            raise UserError(
                f"results={results}: cannot be written ({why}); free space, or choose another folder"
            ) from None

    def _try_out(self, trials: Sequence[Any]) -> list[dict[str, Any]]:
        """Run trials of tuning. Raises UserError where this machine does not find their records."""
        from harness.errors import UserError
        from harness.host.environment import resolve_device
        from harness.launch.live_view import SweepRun

        on_gpu = resolve_device(self._settings(trials[0].row).device) == "cuda"
        points = [SweepRun(t.run, t.label, " ".join(t.row), False, on_gpu) for t in trials]
        outcomes = self._launch_shown([list(t.row) for t in trials], points, trials[0].results)
        if moved := _elsewhere([t.run for t in trials], outcomes):
            raise UserError(f"tune: {len(moved)} of {len(trials)} trials {MOVED}; start the sweep where its jobs run")
        return outcomes

    def _launch_shown(self, rows: list[list[str]], points: Sequence[Any], results: Path) -> list[dict[str, Any]]:
        """Run the points that are not done, whose overrides `rows` are, and show how far they are."""
        from harness.host.gpus import equal_gpus
        from harness.launch.live_view import SweepView

        todo = [point for point in points if not point.done]
        with SweepView(points, results):
            gpus = len(equal_gpus()) if all(point.on_gpu for point in todo) else 1
            return self._launch(rows, gpus, results, [point.run for point in todo])

    def _settings(self, row: Sequence[str]) -> Any:
        """The typed settings of a point, composed once, though it is checked and looked at for tuning. Raises
        UserError."""
        if (key := tuple(row)) not in self._composed:
            self._composed[key] = self._compose(key)
        return self._composed[key]

    def _compose(self, row: tuple[str, ...]) -> Any:
        from harness.config.compose import explain
        from harness.config.validate import settings_from

        try:
            return settings_from(self.context.config_loader.load_sweep_config(self.config, list(row)))
        except HydraException as error:
            raise explain(error, list(row)) from None
        except omegaconf_errors.OmegaConfBaseException as error:
            raise explain(HydraException(str(error)), list(row)) from None

    def _launch(self, rows: list[list[str]], gpus: int, results: Path, runs: Sequence[str]) -> list[dict[str, Any]]:
        """Run points by the launcher that was chosen; where none was, as many at once as there are GPUs."""
        from harness.errors import first_line
        from harness.launch.launcher_process import asking
        from harness.launch.run_once import run_at_once
        from harness.results.folder import RunFolder, finished_record

        count = min(gpus, len(rows))
        own = self.config.hydra.runtime.choices["hydra/launcher"] == "basic"
        if count > 1 and own:
            print(f"a run on each of {count} GPUs", file=sys.stderr)
            return run_at_once(rows, lambda row: self.context.config_loader.load_sweep_config(self.config, row), count)
        if own:
            return [job.return_value for job in self.launcher.launch(rows, initial_job_idx=0)]
        try:
            folders = [RunFolder.of(results, run) for run in runs]
            slurm = self._chosen.endswith("=submitit_slurm")
            with asking(results, folders, slurm):
                self._tell_ray()
                if slurm:
                    self._tell_slurm()
                return [job.return_value for job in self.launcher.launch(rows, initial_job_idx=0)]
        except Exception as error:  # of a launcher: a job that was killed, a scheduler that refuses
            hint = THERE if "connecting to an existing cluster" in str(error) else ""
            print(f"error: {self._chosen}: {type(error).__name__}: {first_line(error)}{hint}", file=sys.stderr)
            records = [finished_record(results, run) for run in runs]
            return [{"status": "error" if record is None else record.status, "problems": []} for record in records]

    def _tell_ray(self) -> None:
        """Where Ray's cluster is there already: have its workers know what those of one that is started here inherit,
        and ask for no object store, which such a cluster has."""
        from harness.launch.launcher_process import COMMAND
        from harness.places import OWN

        if not hasattr(self.launcher, "ray_cfg"):
            return
        init = self.launcher.ray_cfg.init
        if (init.get("address") or os.environ.get("RAY_ADDRESS") or "local") == "local":
            return
        told = {name: os.environ[name] for name in (OWN, COMMAND, "HARNESS_SWEEP") if name in os.environ}
        given = OmegaConf.create({"object_store_memory": None, "runtime_env": {"env_vars": told}})
        self.launcher.ray_cfg.init = OmegaConf.merge(given, init)

    def _tell_slurm(self) -> None:
        """Have `sbatch` hand on nothing of the job that the sweep itself may run in, such as its binding to processors.
        And have the `srun` in each job give the run all of the job's processors: since Slurm 22.05 it no longer takes
        their number from the job (its release notes)."""
        for name in [name for name in os.environ if name.startswith("SLURM_") and name != "SLURM_CONF"]:
            del os.environ[name]
        if cores := self.config.hydra.launcher.get("cpus_per_task"):
            os.environ["SRUN_CPUS_PER_TASK"] = str(cores)

    @property
    def _chosen(self) -> str:
        """The launcher, as it is chosen."""
        return f"hydra/launcher={self.config.hydra.runtime.choices['hydra/launcher']}"

    def _check_launcher(self) -> None:
        """Raise UserError where the launcher cannot launch."""
        from harness.config.compose import EXTRA, LAUNCHERS
        from harness.errors import UserError

        name = self._chosen.rpartition("=")[2]
        there = name not in LAUNCHERS
        with contextlib.suppress(ImportError):
            there = there or importlib.util.find_spec(LAUNCHERS[name]) is not None
        if not there:
            raise UserError(f"{self._chosen}: {EXTRA}")
        if name == "submitit_slurm" and shutil.which("srun") is None and not self.dry_run:
            raise UserError(
                f"{self._chosen}: there is no Slurm here (no srun in PATH); start the sweep on a login node, or use "
                "submitit_local"
            )

    def _check(self, rows: Sequence[tuple[str, ...]]) -> tuple[list[Any], Path, Any]:
        """Compose and check every point: its id, its label, and whether it is done; where results go, and the tracker.
        All problems at once."""
        from harness.errors import UserError
        from harness.host.environment import resolve_device
        from harness.launch.live_view import SweepRun
        from harness.results.folder import finished_record

        points: list[Any] = []
        problems: list[str] = []
        results, tracker = Path(), None
        for row in rows:
            try:
                settings = self._settings(row)
                results, tracker, run = Path(settings.results), settings.tracker, settings.run_id()
                done = not settings.force and finished_record(results, run) is not None
                overrides = " ".join(o for o in row if not o.startswith("results="))
                on_gpu = resolve_device(settings.device) == "cuda"
                points.append(SweepRun(run, settings.label(), overrides, done, on_gpu))
            except UserError as error:
                problems += error.problems
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
