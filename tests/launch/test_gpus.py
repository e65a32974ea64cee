"""One run on each GPU, with made-up lists of devices: what the driver's tool would print on such a machine."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from harness.host import gpus
from harness.host.gpus import Gpu
from harness.launch.live_view import now
from harness.launch.worker import SURROUNDINGS
from harness.places import ROOT
from tests.support.command_line import LIMIT, Harness, wait_for

H100 = "NVIDIA H100 80GB HBM3"
DEVICES = [f"GPU-{number}{'0' * 7}-aaaa-bbbb-cccc-dddddddddddd" for number in range(3)]
EQUAL = [f"{device}, {H100}, 81559, 4, 81005" for device in DEVICES]
BUSY = f"{DEVICES[2]}, {H100}, 81559, 40960, 40049"
UNLIKE = [*EQUAL[:2], f"{DEVICES[2]}, NVIDIA A10, 23028, 1024, 21589"]

Machine = Callable[[list[str]], None]


def driver(folder: Path, lines: list[str]) -> None:
    """Put a tool into the folder that answers as nvidia-smi does where these GPUs are."""
    tool = folder / "nvidia-smi"
    tool.write_text("#!/bin/sh\ncat <<END\n" + "\n".join(lines) + "\nEND\n")
    tool.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Let the driver's tool tell of these GPUs."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    return lambda lines: driver(tmp_path, lines)


def test_what_the_driver_tells(machine: Machine) -> None:
    machine([EQUAL[0], f"{DEVICES[1]}, NVIDIA GB10, [N/A], [N/A], [N/A]"])
    first, second = gpus.gpus()
    assert first == Gpu(DEVICES[0], H100, 81559 * 2**20, 4 * 2**20, 81005 * 2**20)
    assert second == Gpu(DEVICES[1], "NVIDIA GB10", None, None, None)
    assert gpus.free_bytes() == 81005 * 2**20


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, DEVICES),
        ("", []),
        ("-1", []),
        ("2", [DEVICES[2]]),
        ("2, 0", [DEVICES[2], DEVICES[0]]),
        ("1,7,0", [DEVICES[1]]),  # CUDA sees nothing from the first name on that means nothing
        ("0,0", [DEVICES[0]]),
        ("GPU-1", [DEVICES[1]]),  # a beginning is enough where it is one device's
        ("GPU-", []),
        (f"{DEVICES[2]},1", [DEVICES[2], DEVICES[1]]),
        ("MIG-4ff3b5a0-0b3c-5b0e-a5a5-ffffffffffff", ["MIG-4ff3b5a0-0b3c-5b0e-a5a5-ffffffffffff"]),
    ],
)
def test_the_users_choice_of_devices_holds(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: list[str]
) -> None:
    machine(EQUAL)
    if visible is not None:
        monkeypatch.setenv(gpus.VISIBLE, visible)
    assert [gpu.device for gpu in gpus.gpus()] == expected


def test_runs_are_compared_on_equal_devices(machine: Machine) -> None:
    machine(UNLIKE)
    assert [gpu.device for gpu in gpus.equal_gpus()] == DEVICES[:2]


@pytest.mark.parametrize("lines", [[], ["No devices were found"]])
def test_a_driver_without_a_device(machine: Machine, lines: list[str]) -> None:
    machine(lines)
    assert gpus.gpus() == ()
    assert gpus.free_bytes() is None
    with gpus.taken(lambda: False) as gpu:
        assert gpu is None


def test_a_device_has_one_run_at_a_time(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine(EQUAL[:2])
    with gpus.taken(lambda: False) as one, gpus.taken(lambda: False) as other:
        assert one is not None
        assert other is not None
        assert {one.device, other.device} == set(DEVICES[:2])
        with pytest.raises(KeyboardInterrupt), gpus.taken(lambda: True):
            pytest.fail("there is no third")
        assert capsys.readouterr().out == "every GPU (2) has a run; waiting for one\n"
        found: list[Gpu | None] = []

        def third() -> None:
            with gpus.taken(lambda: False) as gpu:
                found.append(gpu)

        waiting = threading.Thread(target=third)
        waiting.start()
    waiting.join()
    assert found[0] in (one, other)


def test_the_emptiest_device_comes_first_and_what_others_use_is_told(machine: Machine) -> None:
    machine([BUSY, EQUAL[1]])
    with gpus.taken(lambda: False) as first, gpus.taken(lambda: False) as second:
        assert first is not None
        assert second is not None
        assert first.device == DEVICES[1]
        assert gpus.others(first) == []
        (warning,) = gpus.others(second)
    assert "40.0 of 79.6 GiB" in warning
    assert gpus.others(Gpu("MIG-0")) == []


def test_the_live_view_says_how_many_run() -> None:
    assert now("1 done, 0 failed, 2 left", ["lora r=8  train"]) == "1 done, 0 failed, 2 left  lora r=8  train"
    assert now("3 left", ["ia3  load", "full  train"]) == "3 left; 2 run now\n  ia3  load\n  full  train"


# A build of torch with CUDA and one device, as far as importing goes, which tells when CUDA is started.
WITH_CUDA = """
import sys
from pathlib import Path
import torch._dynamo  # before it, since this build has not all that the other one's compiler needs
started = []
torch.cuda._is_compiled = lambda: True
torch.cuda._device_count_nvml = lambda: started.append("asked") or 1
torch.cuda._lazy_init = lambda: started.append("init")
torch._C._cuda_getDeviceCount = lambda: started.append("count") or 1
import harness.host.environment
harness.host.environment.gpu_name = lambda: "NVIDIA H100 80GB HBM3"
from harness.config.compose import composed
from harness.launch.server import Bases, preload
from harness.models import save_pretrained
from omegaconf import OmegaConf
preload()
folder = Path(sys.argv[1])
def base(*overrides):
    config = OmegaConf.to_container(composed(["tracker=none", "device=cuda", *overrides]), resolve=True)
    return Bases().get({"config": config})
save_pretrained(*base("model=tiny_random"), folder)
base("model=path", f"model.path={folder}")
print(started)
try:
    import bitsandbytes
except Exception:  # it looks for libraries of CUDA
    pass
print(bool(started))
"""


def test_the_process_that_forks_does_not_start_cuda(tmp_path: Path) -> None:
    """After that no child could use a GPU."""
    command = [sys.executable, "-c", WITH_CUDA, str(tmp_path / "model")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | SURROUNDINGS)
    assert result.stdout.splitlines() == ["[]", "True"], result.stderr


# The command believes that the GPUs can be used and gives each run one; the run's own process computes on the CPU.
BELIEVES = """
import sys
if "harness.launch.server" not in sys.orig_argv:
    import harness.host.environment
    harness.host.environment.gpu_name = lambda: "NVIDIA H100 80GB HBM3"
"""


@pytest.fixture
def several(tmp_path: Path) -> dict[str, str]:
    """The environment of a command on a machine with three GPUs, on the last of which others are at work."""
    driver(tmp_path, [*EQUAL[:2], BUSY])
    (tmp_path / "sitecustomize.py").write_text(BELIEVES)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": f"{tmp_path}:{ROOT}"}


def spans(results: Path) -> dict[str, list[tuple[float, float, str]]]:
    """By device: when each run that had it began and was recorded, as the runs' own processes saw it; and its id."""
    found: dict[str, list[tuple[float, float, str]]] = {}
    for log in results.glob("runs/*/log.txt"):
        lines = re.findall(rf"^(\S+): (base|run) with {gpus.VISIBLE}=(\S+)$", log.read_text(), re.MULTILINE)
        (device,) = {device for _, _, device in lines}
        began = datetime.fromisoformat(lines[0][0]).timestamp()
        found.setdefault(device, []).append((began, (log.parent / "record.json").stat().st_mtime, log.parent.name))
    return {device: sorted(runs) for device, runs in found.items()}


def test_a_sweep_has_a_run_on_each_gpu(harness: Harness, several: dict[str, str]) -> None:
    result = harness("-m", "seed=range(4)", "dtype=fp32", **several)
    assert result.returncode == 0, result.stderr
    assert "a run on each of 3 GPUs" in result.stderr
    assert [record.status for record in harness.records().values()] == ["ok"] * 4
    found = spans(harness.results)
    assert sorted(found) == DEVICES
    assert sorted(map(len, found.values())) == [1, 1, 2]
    for runs in found.values():
        assert all(ended <= began for (_, ended, _), (began, _, _) in itertools.pairwise(runs))
    disturbed = {name for name, record in harness.records().items() if record.warnings}
    assert disturbed == {name for _, _, name in found[DEVICES[2]]}


def test_ctrl_c_ends_the_runs_on_every_gpu(harness: Harness, several: dict[str, str]) -> None:
    process = harness.start(
        "-m", "seed=range(5)", "dtype=fp32", "train.steps=5000", CUDA_VISIBLE_DEVICES="2,0", **several
    )

    def both() -> bool:
        states = [json.loads(path.read_text()) for path in harness.results.glob("runs/*/progress.json")]
        return [state["phase"] for state in states] == ["train", "train"]

    wait_for(both, process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 4  # two workers, and a run of each
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, err
    assert "goes on from where it stopped" in err
    assert "Traceback" not in err
    assert [record.status for record in harness.records().values()] == ["interrupted"] * 2
    assert sorted(spans(harness.results)) == [DEVICES[0], DEVICES[2]]
    assert not psutil.wait_procs(family, timeout=10)[1]
