"""What is done in the process that a worker forked for a job: the plan, the base's scores, or the run itself. Whatever
goes wrong there becomes the run's record."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import NotFinite, RunEnded, UserError, first_line, memory_is_out
from harness.evaluation.predict import rehearse
from harness.host.environment import resolve_device, usable_cores
from harness.host.out_of_memory import held
from harness.host.own_code import own_code, refuse_changed, take_up
from harness.launch.progress_file import ProgressFile
from harness.measure.peak_memory import reached
from harness.memory.forecast import Forecast, predict, too_much
from harness.metrics import MetricFailed
from harness.places import own_folders
from harness.prepare.base_model import LoadedModel, load_base
from harness.results.checksums import seal
from harness.results.folder import RunFolder, write_record
from harness.results.record import Status
from harness.results.sections import Memory
from harness.run.base_scores import measure_base
from harness.run.execute import execute
from harness.run.progress import RunProgress
from harness.run.record import failed_record
from harness.run.trial import try_out

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings


def do(settings: RunSettings, job: dict[str, Any], base: Any, stopped: Callable[[], bool]) -> int:
    """Do a job. `base`: the model that the worker loaded, what went wrong with it, or None where it is to be loaded
    here. Returns the exit code: 0 done, 1 failed and recorded, 2 a user error. Raises what is no failure of a kind that
    is known, after it has been recorded."""
    folder = RunFolder(Path(job["folder"]))
    torch.set_num_threads(settings.threads or usable_cores())
    progress = RunProgress(ProgressFile(folder.progress).write, stopped, settings.train.time_limit)
    progress.warnings += job["warnings"] + job["notices"]
    progress.shared = bool(job["warnings"])

    def failed(status: Status, cause: str, step: int | None, user_error: bool = False) -> int:
        fields: dict[str, Any] = {"user_error": user_error, "warnings": progress.warnings}
        if status == "oom":
            rss, cuda = reached()
            cause += held(rss, cuda)
            fields["memory"] = Memory(process_peak_rss=rss, oom_cuda_allocated=cuda)
        fields |= {
            "planned": Forecast.read(folder.plan).planned,
            "seconds": progress.seconds | {"total": progress.total},
        } | progress.measured
        write_record(Path(settings.results), failed_record(settings, folder.run, status, cause, step=step, **fields))
        return 2 if user_error else 1

    try:
        if isinstance(base, Exception):
            raise base
        _hold_own_code(settings, job["kind"])
        if job["kind"] == "plan":
            _planned(settings, folder, progress)
            return 0
        if base is None:
            with progress.phase("load"):
                base = load_base(settings)
        elif resolve_device(settings.device) == "cuda":
            with progress.phase("load"):
                base = LoadedModel(base.model.to("cuda"), base.tokenizer)
        if job["kind"] == "base":
            measure_base(settings, base, progress)
        else:
            _recorded(settings, folder, base, progress)
    except RunEnded as end:
        return failed(end.status, end.cause, end.step)
    except NotFinite as error:
        if job["kind"] == "run" and settings.method.trains:
            return failed("diverged", str(error), progress.step)
        base_too = f"the base model, which nothing has trained: {error}; check its weights, or try dtype=fp32"
        return failed("error", base_too, progress.step, user_error=True)
    except MetricFailed as error:
        traceback.print_exc()
        return failed("error", f"{progress.phase_now}: {'; '.join(error.problems)}", progress.step, user_error=True)
    except UserError as error:
        return failed("error", "; ".join(error.problems), progress.step, user_error=True)
    except (MemoryError, torch.OutOfMemoryError) as error:
        return failed("oom", first_line(error), progress.step)
    except OSError as error:
        # A full disk or a folder that cannot be written to: there may be no record of it.
        return failed("error", f"{error}; free space or choose another results folder", progress.step, user_error=True)
    except Exception as error:  # recorded, and raised
        place = "" if progress.phase_now is None else f"{progress.phase_now}: "
        failed(
            "oom" if memory_is_out(error) else "error",
            f"{place}{type(error).__name__}: {first_line(error)}",
            progress.step,
        )
        raise
    return 0


def _hold_own_code(settings: RunSettings, kind: str) -> None:
    """Do this job with code of one's own, if there is any, as the command found it. Raises UserError where it has
    changed since."""
    if not own_folders():
        return
    own_code([type(settings.method).__module__])
    settings.data.outcome()  # asks for what it uses; the whole key would load the data, which training's memory counts
    refuse_changed()
    if kind == "run" and settings.trial is None:
        take_up()  # a metric would be imported when the training is over


def _recorded(settings: RunSettings, folder: RunFolder, base: LoadedModel, progress: RunProgress) -> None:
    """Do a run, or a trial, and record it. The trained weights go, unless a trial may go on from them."""
    work = execute if settings.trial is None else try_out
    write_record(Path(settings.results), work(settings, folder, base, progress))
    seal(folder.path)
    if settings.trial is None or settings.trial[-1] >= settings.train.steps:
        folder.checkpoint.unlink(missing_ok=True)


def _planned(settings: RunSettings, folder: RunFolder, progress: RunProgress) -> None:
    """Try what a run will need when it is too late to find out, and write its plan. Raises RunEnded where it does not
    fit."""
    # Here, and not in the run's own process: what it imports would count as memory of training.
    with progress.phase("metrics"):
        rehearse(settings)
    with progress.phase("plan"):
        forecast = predict(settings)
        forecast.write(folder.plan)
    if end := progress.ended():
        raise end
    if forecast.planned and (why := too_much(settings, forecast.planned)):
        raise RunEnded("skipped", why)


def settings_of(job: dict[str, Any]) -> RunSettings:
    """The typed settings that a job carries."""
    from omegaconf import OmegaConf

    from harness.config.validate import settings_from

    return settings_from(OmegaConf.create(job["config"]))
