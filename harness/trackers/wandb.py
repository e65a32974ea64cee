"""Weights & Biases: online when logged in, else offline in <results>/wandb."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from harness.errors import first_line
from harness.settings import Tracker
from harness.trackers import About, Table

SECONDS_TO_CONNECT = 30


class Run:
    """A run of W&B; resumable by its id."""

    def __init__(self, run: Any, about: About) -> None:
        self.run, self.about = run, about

    def log(self, values: dict[str, float], step: int) -> None:
        self.run.log(values, step=step)

    def finish(self, summary: dict[str, Any], predictions: Table, adapter: Path | None) -> None:
        import wandb

        self.run.summary.update(summary)
        self.run.log({"predictions": wandb.Table(columns=[*predictions.columns], data=[*predictions.rows])})
        if adapter is not None:
            artifact = wandb.Artifact(f"adapter-{self.about.id}", type="model", metadata={"label": self.about.label})
            artifact.add_dir(str(adapter))
            self.run.log_artifact(artifact)
        self.run.finish()

    def fail(self) -> None:
        self.run.finish(exit_code=1)


def start(about: About) -> Run:
    """W&B's run; offline, with a warning, where online fails."""
    import wandb

    mode = mode_of(about.tracker)
    quiet = wandb.Settings(init_timeout=SECONDS_TO_CONNECT, silent=True, console="off", x_disable_stats=True)
    options: dict[str, Any] = {
        "project": about.tracker.project,
        "entity": about.tracker.entity,
        "dir": str(about.results),
        "id": about.id,
        "resume": "allow",
        "name": about.name,
        "group": about.group,
        "tags": about.tags,
        "config": about.config,
        "settings": quiet,
    }
    try:
        return Run(wandb.init(mode=mode, **options), about)  # type: ignore[arg-type]
    except Exception as error:
        # wandb raises its own errors and those of its transport: a wrong key, no network, a full quota.
        if mode != "online":
            raise
        about.warn(f"W&B online failed ({first_line(error)}); logged offline, send it with `wandb sync`")
        with contextlib.suppress(SystemExit):  # the exit code of its service is of no interest
            wandb.teardown()  # or the failed attempt would keep the run's id to itself
        return Run(wandb.init(mode="offline", **options), about)


def mode_of(tracker: Tracker) -> str:
    """`online` or `offline`: what the settings say, else W&B's own variable, else whether it finds credentials."""
    if tracker.mode != "auto":
        return tracker.mode
    own = os.environ.get("WANDB_MODE", "").lower()
    return own if own in ("online", "offline") else ("online" if logged_in() else "offline")


def logged_in() -> bool:
    """W&B finds credentials (environment, netrc, settings), without asking for any."""
    import wandb

    return bool(wandb.login(prompt=False))
