"""A sweeper that is not the harness's own gets the number that it asked each point for."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.launch.objective import objective_of
from harness.results.folder import write_record
from harness.run.record import failed_record
from tests.support.command_line import Harness
from tests.support.tiny import settings

SWEEPER = '''
import json, pathlib
from dataclasses import dataclass
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

@dataclass
class Conf:
    _target_: str = "hydra_plugins.descent.descent.Descent"
    output: str = "???"

ConfigStore.instance().store(group="hydra/sweeper", name="descent", node=Conf, provider="descent")

class Descent(Sweeper):
    """Raises the rate by factors of ten as long as the number that comes back falls."""

    def __init__(self, output):
        self.output = pathlib.Path(output)

    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        tried = []
        for number in range(5):
            (done,) = self.launcher.launch([[*arguments, f"method.lr={10.0 ** (number - 5)}"]], len(tried))
            tried.append(done.return_value)
            if len(tried) > 1 and tried[-1] > tried[-2]:
                break
        self.output.write_text(json.dumps(tried))
'''


def test_another_sweeper_descends_by_what_points_return(harness: Harness, tmp_path: Path) -> None:
    plugin = tmp_path / "plugins" / "hydra_plugins" / "descent"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").touch()
    (plugin / "descent.py").write_text(SWEEPER)
    path = os.pathsep.join(filter(None, [str(tmp_path / "plugins"), os.environ.get("PYTHONPATH")]))
    output = tmp_path / "returned.json"
    words = ("-m", "hydra/sweeper=descent", f"hydra.sweeper.output={output}", "objective=val_loss", "method=lora")
    ended = harness(*words, PYTHONPATH=path)
    assert ended.returncode == 0, ended.stderr
    returned = json.loads(output.read_text())
    by_rate = {record.learning_rate or 0.0: record.quality["val_loss"] for record in harness.records().values()}
    assert returned == [by_rate[rate] for rate in sorted(by_rate)]
    assert len(returned) >= 2


def test_a_sweeper_of_hydras_needs_an_objective_and_gets_nothing_of_ours(harness: Harness) -> None:
    for words, said in {
        ("hydra/sweeper=basic",): "say what each point returns to it: objective=val_loss",
        ("hydra/sweeper=basic", "objective=val_loss", "+sweep=tiny"): "+sweep=tiny: is the harness's own sweeper's",
        ("hydra/sweeper=basic", "objective=val_loss", "tune=lr"): "tune=lr: is the harness's own sweeper's",
        ("objective=val_loss", "seed=0,1"): "objective=val_loss: is for another sweeper",
    }.items():
        ended = harness("-m", *words)
        assert ended.returncode == 2
        (line,) = ended.stderr.splitlines()
        assert said in line


def test_what_a_point_returns(tmp_path: Path) -> None:
    chosen = settings("method=lora", f"results={tmp_path}")
    run = chosen.run_id()

    def ended(status: str) -> dict[str, object]:
        record = failed_record(chosen, run, status, "why")  # type: ignore[arg-type]
        quality = {"val_loss": 1.5, "bleu": 30.0, "cider": None} if status == "ok" else {}
        write_record(tmp_path, record.model_copy(update={"quality": quality}))
        return {"id": run, "status": status, "problems": []}

    assert objective_of(ended("ok"), tmp_path, "bleu") == 30.0
    for wrong in ("val_los", "cider"):
        with pytest.raises(UserError, match=f"objective={wrong}: .* has no such score"):
            objective_of(ended("ok"), tmp_path, wrong)
    assert objective_of(ended("diverged"), tmp_path, "val_loss") == math.inf
    assert math.isnan(objective_of(ended("diverged"), tmp_path, "bleu"))
    with pytest.raises(RuntimeError, match="oom: why"):
        objective_of(ended("oom"), tmp_path, "val_loss")
    with pytest.raises(KeyboardInterrupt):
        objective_of({"id": run, "status": "interrupted", "problems": []}, tmp_path, "val_loss")
    with pytest.raises(UserError, match="no good"):
        objective_of({"status": "error", "problems": ["no good"]}, tmp_path, "val_loss")
