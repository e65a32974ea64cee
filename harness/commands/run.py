"""The command line: `python -m harness method=lora`, `python -m harness +sweep=quickstart`.

Exit codes: 0 done, 1 a run failed (its record says why), 2 something the user can put right, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from harness.config.beforehand import own_rate
from harness.config.compose import DAMAGED, damaged, explain, refuse_no_choice
from harness.config.sweeps import GIVEN
from harness.config.validate import settings_from
from harness.errors import UserError, first_line, nearest, refuse
from harness.launch import run_once
from harness.launch.live_view import SweepRun, SweepView
from harness.launch.objective import objective_of
from harness.places import CONF
from harness.results.folder import RunFolder, finished_record
from harness.results.record import Record

FAILED, USER_ERROR, INTERRUPTED = 1, 2, 130
OURS = "harness"
"""The name of the harness's own sweeper."""
FLAGS = {
    *("-m", "--multirun", "--dry-run", "-h", "--help", "--hydra-help", "--version"),
    *("-c", "--cfg", "--resolve", "-p", "--package", "-i", "--info"),
}
"""Options that the harness takes; Hydra has others, which make no run of one."""


@hydra.main(version_base=None, config_path=str(CONF), config_name="config")
def _task(config: DictConfig) -> dict[str, Any] | float | None:
    """Hydra's task: one point. Under a sweep it returns id and status, or the score that another sweeper asked for;
    alone it ends the process."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        os.chdir(hydra_config.runtime.cwd)  # a launcher's process may have started elsewhere; paths are the user's
        outcome = run_once.outcome(config)
        ours = hydra_config.runtime.choices["hydra/sweeper"] == OURS
        return outcome if ours else objective_of(outcome, Path(config.results), config.objective)
    try:
        _alone(config)
    except (UserError, OSError) as error:  # told here, since Hydra would put a line of its own before it
        _refuse(error)


def _refuse(error: UserError | OSError) -> NoReturn:
    """Say what the user can put right, a line a problem, and end the process."""
    place = getattr(error, "filename", None) or "the results folder"
    advice = f"{error}; check that {place} can be read and written to"
    sys.exit(refuse(error.problems if isinstance(error, UserError) else [advice]))


def _alone(config: DictConfig) -> NoReturn:
    """Run one point by itself, show how it goes, and end the process with its exit code."""
    settings = settings_from(config)
    results, run = Path(settings.results), settings.run_id()
    done = not settings.force and finished_record(results, run) is not None
    with SweepView([SweepRun(run, settings.label(), "", done)], results, tell=False):
        record = run_once.run_point(config)
    folder = RunFolder.of(results, run)
    end_unless_ok(record, record.label, f"; see {folder.path}")
    print(_summary(record, folder, done))
    if source := own_rate(settings):
        print(f"learning rate {settings.method.lr:g}: {source}; tune=lr searches one for this task")
    sys.exit(0)


def end_unless_ok(record: Record, name: str, advice: str = "") -> None:
    """End the process as the run did that this is the record of, unless it is done."""
    if record.status == "ok":
        return
    if record.user_error:
        raise UserError(record.cause or "")
    if record.status == "interrupted":  # the signal reached the run alone, or the run first: said in one place
        raise KeyboardInterrupt
    print(f"error: {name}: {record.status}: {record.cause}{advice}", file=sys.stderr)
    sys.exit(FAILED)


def _summary(record: Record, folder: RunFolder, done: bool) -> str:
    scores = ", ".join(f"{name} {value:.4g}" for name, value in record.quality.items() if value is not None)
    return f"{record.label}: {'done before' if done else 'done'}; {scores}\n{folder.record}"


def _for_sweeper(sweeper: str, words: list[str]) -> list[str]:
    """The arguments of a sweep that a sweeper of Hydra's drives, which asks each point for a number. Raises
    UserError."""
    if not any(word.startswith("objective=") for word in words):
        alone = f"{sweeper}: the harness expands sweeps itself; leave it out"
        raise UserError(f"{alone}, or say what each point returns to it: objective=val_loss")
    if alien := [word for word in words if word.startswith(("+sweep=", "tune", "hydra.sweeper.dry_run"))]:
        raise UserError(f"{alien[0]}: is the harness's own sweeper's; leave out {sweeper}")
    return words


def main() -> None:
    """Run the command line and end the process with its exit code."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it would print, so that it is reported in one line below
    run_once.command = os.getpid()
    arguments = sys.argv[1:]
    try:
        arguments = _arguments(arguments)
        sys.argv[1:] = arguments
        _check(arguments)
        _task()
    except HydraException as error:  # before OSError, which a missing configuration is too
        overrides = [a for a in arguments if "=" in a and not a.startswith(("+sweep=", "hydra."))]
        _refuse(explain(error, overrides))
    except DAMAGED as error:
        _refuse(damaged(error))
    except (UserError, OSError) as error:
        _refuse(error)
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # of a terminal that is gone
            print("\ninterrupted; the same command goes on from where it stopped", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED)
    finally:
        run_once.close()


def _check(arguments: list[str]) -> None:
    """Raise UserError for what makes Hydra fail in ways of its own: a value without a key, a number too long for
    Python."""
    parser = OverridesParser.create()
    for argument in [*arguments, *json.loads(os.environ.get(GIVEN, "[]"))]:
        why = "it has no key" if re.match(r"[+~]*=", argument) else None
        try:
            refuse_no_choice([parser.parse_override(argument)])
        except HydraException:  # reported when the configuration is composed
            pass
        except UserError:
            raise
        except ValueError as error:
            why = first_line(error)
        if why:
            raise UserError(f"{argument}: cannot be read ({why}); it must be key=value in Hydra's grammar")


def _arguments(words: list[str]) -> list[str]:
    """Hydra's arguments for ours. A sweep and a dry run are Hydra's multirun, whose flag must come first."""
    for flag in (a.partition("=")[0] for a in words if a.startswith("-")):
        if flag not in FLAGS:
            raise UserError(f"{flag}: no such option; {nearest(flag, sorted(FLAGS))}")
    if "--resolve" in words and not {"--cfg", "-c"} & {a.partition("=")[0] for a in words}:
        raise UserError("--resolve: belongs to --cfg, as in --cfg job --resolve")
    flags = {"-m", "--multirun", "--dry-run"} & set(words)
    rest = [a for a in words if a not in flags]
    if "--dry-run" in flags:
        rest.append("hydra.sweeper.dry_run=true")
    tuned = any(a.startswith("tune=") and a != "tune=none" for a in rest)  # a run that is tuned is several
    if not flags and not tuned and not any(a.startswith("+sweep=") for a in rest):
        return rest
    if own := [a for a in rest if a.startswith("hydra/sweeper=") and a != f"hydra/sweeper={OURS}"]:
        return ["--multirun", *_for_sweeper(own[0], rest)]
    if objective := [a for a in rest if a.startswith("objective=") and a != "objective=null"]:
        raise UserError(f"{objective[0]}: is for another sweeper than the harness's own; give hydra/sweeper=… with -m")
    # A point's overrides need not make sense without those of its grid, so they go to the sweeper alone; Hydra itself
    # needs what is about the sweep as a whole.
    whole = [a for a in rest if a.lstrip("+~").startswith(("hydra", "results=", "-"))]
    os.environ[GIVEN] = json.dumps([a for a in rest if a not in whole or a.startswith("results=")])
    return ["--multirun", *whole]
