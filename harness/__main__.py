"""The command line: `python -m harness method=lora`, `python -m harness +sweep=quickstart`.

Exit codes: 0 done, 1 a run failed (its record says why), 2 something the user can put right, 130 interrupted.
"""

from __future__ import annotations

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
from harness.config import CONF, explain, settings_from
from harness.errors import UserError
from harness.progress import Point, SweepView
from harness.results import Record, finished, run_folder

FAILED, USER_ERROR, INTERRUPTED = 1, 2, 130


@hydra.main(version_base=None, config_path=str(CONF), config_name="config")
def _task(config: DictConfig) -> dict[str, Any] | None:
    """Hydra's task: one point. Under a sweep it returns id and status, alone it ends the process."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        try:
            record = point.run_point(config)
        except UserError as error:
            return {"status": "error", "problems": list(error.problems)}
        return {"id": record.id, "status": record.status, "problems": []}
    _alone(config)


def _alone(config: DictConfig) -> NoReturn:
    """Run one point by itself, show how it goes, and end the process with its exit code."""
    settings = settings_from(config)
    results, run = Path(settings.results), settings.run_id()
    done = not settings.force and finished(results, run) is not None
    with SweepView([Point(run, settings.label(), "", done)], results):
        record = point.run_point(config)
    print(_summary(record, run_folder(results, run), done))
    if record.status == "interrupted":
        sys.exit(INTERRUPTED)
    sys.exit(0 if record.status == "ok" else USER_ERROR if record.user_error else FAILED)


def _summary(record: Record, folder: Path, done: bool) -> str:
    if record.status != "ok":
        return f"{record.label}: {record.status}: {record.cause}\n{folder}"
    scores = ", ".join(f"{name} {value:.4g}" for name, value in record.quality.items() if value is not None)
    return f"{record.label}: {'done before' if done else 'done'}; {scores}\n{folder / 'record.json'}"


def main() -> None:
    """Run the command line and end the process with its exit code."""
    arguments = ["hydra.sweeper.dry_run=true" if a == "--dry-run" else a for a in sys.argv[1:]]
    if any(a.startswith("+sweep=") for a in arguments) and not {"-m", "--multirun"} & set(arguments):
        arguments.insert(0, "--multirun")
    sys.argv[1:] = arguments
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it would print, so that it is said in one line below
    signal.signal(signal.SIGTERM, _interrupt)  # a scheduler's notice is treated like Ctrl-C
    try:
        _task()
    except UserError as error:
        print(*(f"error: {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
        sys.exit(USER_ERROR)
    except HydraException as error:
        overrides = [a for a in arguments if "=" in a and not a.startswith(("+sweep=", "hydra."))]
        print(f"error: {explain(error, overrides)}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except OSError as error:
        print(f"error: {error}; check that the results folder can be written to", file=sys.stderr)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from where it stopped", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        point.close()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
