"""trackio: the Space or server that its own variables name, else <results>/trackio."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.results.record import flat_items
from harness.trackers import About, Table

PLACES = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""Its own variables for where it logs."""


class Run:
    """A run of trackio; it knows runs by their name."""

    def __init__(self, run: Any, about: About) -> None:
        self.run, self.about = run, about

    def log(self, values: dict[str, float], step: int) -> None:
        with _told():
            self.run.log(values, step=step)

    def finish(self, summary: dict[str, Any], predictions: Table, adapter: Path | None) -> None:
        import trackio

        with _told():
            numbers = {name: value for name, value in flat_items(summary) if isinstance(value, int | float)}
            table = trackio.Table(columns=predictions.columns, data=predictions.rows)
            self.run.log({"status": summary["status"], "predictions": table, **numbers})
            if adapter is not None:
                artifact = trackio.Artifact(f"adapter-{self.about.id}", type="model")
                artifact.add_dir(str(adapter))
                self.run.log_artifact(artifact)
            trackio.finish()  # the run's own would be called again when the process ends

    def fail(self) -> None:
        import trackio

        with _told():
            trackio.finish()


def start(about: About) -> Run:
    """trackio's run, found by its name where it was begun before."""
    mode, id = about.tracker.mode, about.id
    os.environ.setdefault("TRACKIO_DIR", str(about.results.resolve() / "trackio"))  # read where it is imported
    for name in PLACES if mode == "offline" else ():
        os.environ.pop(name, None)
    if mode == "online" and not any(os.environ.get(name) for name in PLACES):
        raise ValueError(f"tracker.mode=online needs {' or '.join(PLACES)}")
    import trackio

    # Two runs of one name would be one.
    name = about.name if id[-6:] in about.name else f"{about.name} {id[-6:]}"
    with _told():
        run = trackio.init(
            project=about.tracker.project,
            name=name,
            group=about.group,
            config={"run": id, "tags": about.tags, **about.config},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
    return Run(run, about)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What trackio prints goes nowhere; what it only warns of is raised in the end."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    if own := [str(each.message) for each in caught if "trackio" in each.filename]:
        raise RuntimeError(own[0])
