"""The command line: `python -m harness method=lora`, `python -m harness +sweep=quickstart`.

Exit codes: 0 done, 1 a run failed (its record says why), 2 something the user can put right, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from harness import point
from harness.config import CONF, GIVEN, explain, settings_from
from harness.errors import UserError
from harness.progress import Point, SweepView
from harness.results import Record, finished, run_folder

FAILED, USER_ERROR, INTERRUPTED = 1, 2, 130


@hydra.main(version_base=None, config_path=str(CONF), config_name="config")
def _task(config: DictConfig) -> dict[str, Any] | None:
    """Hydra's task: one point. Under a sweep it returns id and status, alone it ends the process."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        os.chdir(hydra_config.runtime.cwd)  # a launcher's process may have started elsewhere; paths are the user's
        return point.outcome(config)
    try:
        _alone(config)
    except (UserError, OSError) as error:  # told here, since Hydra would put a line of its own before it
        _refuse(error)


def _refuse(error: UserError | OSError) -> NoReturn:
    """Say what the user can put right, a line a problem, and end the process."""
    advice = f"{error}; check that the results folder can be written to"
    problems = error.problems if isinstance(error, UserError) else [advice]
    print(*(f"error: {problem}" for problem in problems), sep="\n", file=sys.stderr)
    sys.exit(USER_ERROR)


def _alone(config: DictConfig) -> NoReturn:
    """Run one point by itself, show how it goes, and end the process with its exit code."""
    settings = settings_from(config)
    results, run = Path(settings.results), settings.run_id()
    done = not settings.force and finished(results, run) is not None
    with SweepView([Point(run, settings.label(), "", done)], results, tell=False):
        record = point.run_point(config)
    folder = run_folder(results, run)
    if record.status == "ok":
        print(_summary(record, folder, done))
        sys.exit(0)
    if record.user_error:
        raise UserError(record.cause or "")
    if record.status == "interrupted":  # the signal reached the run alone, or the run first: said in one place
        raise KeyboardInterrupt
    print(f"error: {record.label}: {record.status}: {record.cause}; see {folder}", file=sys.stderr)
    sys.exit(FAILED)


def _summary(record: Record, folder: Path, done: bool) -> str:
    scores = ", ".join(f"{name} {value:.4g}" for name, value in record.quality.items() if value is not None)
    return f"{record.label}: {'done before' if done else 'done'}; {scores}\n{folder / 'record.json'}"


def main() -> None:
    """Run the command line and end the process with its exit code."""
    arguments = _arguments(sys.argv[1:])
    sys.argv[1:] = arguments
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it would print, so that it is said in one line below
    signal.signal(signal.SIGTERM, _interrupt)  # a scheduler's notice is treated like Ctrl-C
    try:
        _task()
    except HydraException as error:  # before OSError, which a missing configuration is too
        overrides = [a for a in arguments if "=" in a and not a.startswith(("+sweep=", "hydra."))]
        _refuse(explain(error, overrides))
    except (UserError, OSError) as error:
        _refuse(error)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from where it stopped", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        point.close()


def _arguments(given: list[str]) -> list[str]:
    """Hydra's arguments for ours. A sweep and a dry run are Hydra's multirun, whose flag must come first."""
    flags = {"-m", "--multirun", "--dry-run"} & set(given)
    rest = [a for a in given if a not in flags]
    if "--dry-run" in flags:
        rest.append("hydra.sweeper.dry_run=true")
    if not flags and not any(a.startswith("+sweep=") for a in rest):
        return rest
    # A point's overrides need not make sense without those of its grid, so they go to the sweeper alone; Hydra itself
    # needs what is about the sweep as a whole.
    whole = [a for a in rest if a.lstrip("+~").startswith(("hydra", "results=", "-"))]
    os.environ[GIVEN] = json.dumps([a for a in rest if a not in whole or a.startswith("results=")])
    return ["--multirun", *whole]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
