"""What has been done is not done again: a metric that fails, a damaged checkpoint and a damaged cache cost no more than
they must, and a line says what happened."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import RunEnded
from harness.host import cache
from harness.host.cache import SUMS, build_once, keep, kept
from harness.places import ROOT
from harness.results import checksums
from harness.results.folder import finished_record, read_record
from harness.results.record import Record
from harness.results.sweep_files import write_sweep
from reports.read.runs import load_all
from tests.support.command_line import LIMIT, SMALL
from tests.support.records import run_folder
from tests.support.tiny import adapted
from tests.support.trainers import losses, never, quiet, trainer

# Scores of one's own

FAMILY = """
import os
from harness.metrics import Score

def compute(predictions, references, sources=None):
    how = os.environ["HOW"]
    real = [text for text in predictions] != [group[0] for group in references]
    good = Score(1.0, "own|1", tuple(1.0 for _ in predictions))
    if how == "raises" or (how == "raises on answers" and real):
        raise ZeroDivisionError("of its own")
    return {
        "no scores": [good],
        "a number": {"own": 1.0},
        "a text": {"own": Score("high", "own|1")},
        "too few": {"own": Score(1.0, "own|1", (1.0,) * (len(predictions) - 1))},
        "another's": {"chrf": good},
        "names": {1: good},
    }.get(how, {"own": good})
"""
WRONG = {
    "raises": "metric own: ZeroDivisionError: of its own",
    "no scores": "metric own: gave list, and not scores by their names",
    "a number": "metric own: gave float for own, and not a Score",
    "a text": "metric own: own has a value of type str, and not a number or None",
    "too few": "metric own: own has 0 examples for 1 predictions",
    "another's": "metric own: gives chrf, as another family does; name one of them",
    "names": "metric own: gave dict, and not scores by their names",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a family of scores more."""
    copy = tmp_path_factory.mktemp("project")
    for part in ("harness", "conf", "sweeps", "hydra_plugins", "reports"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "harness" / "metrics" / "own.py").write_text(FAMILY)
    return copy


def run_in(project: Path, how: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A run of that copy."""
    command = [sys.executable, "-m", "harness", *SMALL, "data.metrics=[translation,own]", *arguments]
    surroundings = os.environ | {"HOW": how, "PYTHONPATH": str(project)}
    return subprocess.run(command, cwd=project, env=surroundings, capture_output=True, text=True, timeout=LIMIT)


def test_what_gives_no_scores_is_found_before_training(project: Path, tmp_path: Path) -> None:
    code = (
        "import os\nfrom harness.metrics import MetricFailed, compute\nfor how in %r:\n    os.environ['HOW'] = how\n"
        "    try:\n        compute(['translation', 'own'], ['a b c d'], [['a b c d']])\n"
        "    except MetricFailed as error:\n        print(error)\n"
    )
    surroundings = os.environ | {"PYTHONPATH": str(project)}
    command = [sys.executable, "-c", code % list(WRONG)]
    found = subprocess.run(command, cwd=project, env=surroundings, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == list(WRONG.values())

    result = run_in(project, "raises", f"results={tmp_path}")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == f"error: metrics: {WRONG['raises']}"
    assert "Traceback" not in result.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert not (folder / "curve.jsonl").exists()
    assert "ZeroDivisionError" in (folder / "log.txt").read_text(), "where in the family it was is in the log"


def test_a_metric_that_fails_on_what_was_trained_costs_no_training(project: Path, tmp_path: Path) -> None:
    results = f"results={tmp_path}"
    assert run_in(project, "", results, "method=zero_shot").returncode == 0  # the base's scores are there
    failed = run_in(project, "raises on answers", results)
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1] == f"error: evaluate: {WRONG['raises']}"
    ((folder, before),) = ended(tmp_path, "error")
    assert before.cause == f"evaluate: {WRONG['raises']}"
    curve = (folder / "curve.jsonl").read_bytes()

    again = run_in(project, "", results)
    assert again.returncode == 0, again.stderr
    assert "goes on from step 6 of 6" in again.stderr
    assert (folder / "curve.jsonl").read_bytes() == curve, "with the seconds of each step, which no other training has"
    record = read_record(folder / "record.json")
    assert record.resumed_from == 6
    assert record.quality["own"] == 1.0
    assert (record.throughput, record.machine, record.train_tokens) == (
        before.throughput,
        before.machine,
        before.train_tokens,
    )
    assert record.memory
    assert record.memory.train_rss_growth is not None
    assert not (folder / "checkpoint.pt").exists()

    whole = run_in(project, "", f"results={tmp_path / 'whole'}")
    assert whole.returncode == 0
    ((_, at_once),) = ended(tmp_path / "whole", "ok")
    assert (record.quality, record.forgetting, record.truncated, record.checks) == (
        at_once.quality,
        at_once.forgetting,
        at_once.truncated,
        at_once.checks,
    )
    # What is null of the machine hangs on whether a training took a second.
    reasons = [{n: why for n, why in each.null_reasons.items() if n[:8] != "machine."} for each in (record, at_once)]
    assert reasons[0] == reasons[1]


def ended(results: Path, status: str) -> list[tuple[Path, Record]]:
    """Folders and records of the runs of lora that ended so."""
    records = [(path.parent, read_record(path)) for path in results.glob("runs/lora-*/record.json")]
    return [(folder, record) for folder, record in records if record.status == status]


# Checkpoints


def flip(path: Path, seed: int = 0, count: int = 20) -> None:
    """Turn bits over, none of them in the last bytes, which tell where everything is."""
    content, numbers = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(count):
        content[numbers.randrange(max(1, len(content) - 100))] ^= 1 << numbers.randrange(8)
    path.write_bytes(content)


def rewrite(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    """A checkpoint that torch can read, with other content."""
    content = torch.load(path, weights_only=True)
    changed = change(content)
    torch.save(content if changed is None else changed, path)


def stated(content: Any, **state: object) -> dict[str, object]:
    """A checkpoint of another state."""
    return content | {"state": content["state"] | state}


def flip_tensor(path: Path) -> None:
    """One bit of one tensor, in a file that can be read."""
    with zipfile.ZipFile(path) as archive:
        name = next(each for each in archive.namelist() if each.endswith("/data/0"))
        stored = archive.read(name)
    content = path.read_bytes()
    place = content.index(stored)
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "cut by a byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "words": lambda path: path.write_text("not a checkpoint"),
    "bits": flip,
    "other bits": lambda path: flip(path, 1, 1000),
    "a bit of a tensor": flip_tensor,
    "longer": lambda path: path.write_bytes(path.read_bytes() + bytes(1000)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a list": lambda path: rewrite(path, lambda content: [content]),
    "another run's": lambda path: rewrite(path, lambda content: content | {"run": "lora-0"}),
    "a part less": lambda path: rewrite(path, lambda content: content.pop("scaler") and None),
    "a part more": lambda path: rewrite(path, lambda content: content | {"more": 1}),
    "of before": lambda path: rewrite(path, lambda content: {"state": content["state"], "weights": content["weights"]}),
    "no weights": lambda path: rewrite(path, lambda content: content | {"weights": {}}),
    "weights by number": lambda path: rewrite(path, lambda content: content | {"weights": [1.0]}),
    "other shapes": lambda path: rewrite(
        path, lambda content: content | {"weights": {name: each[:1] for name, each in content["weights"].items()}}
    ),
    "another dtype": lambda path: rewrite(
        path, lambda content: content | {"weights": {name: each.half() for name, each in content["weights"].items()}}
    ),
    "another optimizer": lambda path: rewrite(
        path, lambda content: content | {"optimizer": {"state": {}, "param_groups": []}}
    ),
    "no optimizer": lambda path: rewrite(path, lambda content: content | {"optimizer": "adamw"}),
    "no random state": lambda path: rewrite(path, lambda content: content | {"random": torch.zeros(3)}),
    "another state": lambda path: rewrite(path, lambda content: content | {"state": {"step": 3}}),
    "a step beyond": lambda path: rewrite(path, lambda content: stated(content, step=10**6)),
    "no curve": lambda path: rewrite(path, lambda content: stated(content, curve=[])),
    "steps of another": lambda path: rewrite(path, lambda content: stated(content, step=1)),
    "no numbers": lambda path: rewrite(
        path, lambda content: content | {"weights": {name: each / 0 for name, each in content["weights"].items()}}
    ),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
}


@pytest.fixture(scope="module")
def at_once() -> list[float]:
    """Losses of a training that nothing interrupts."""
    return losses(trainer(adapted(["method.dropout=0.1"]), Path("/nowhere"), checkpoint_every=1000).run(never, quiet))


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_set_aside(kind: str, at_once: list[float], tmp_path: Path) -> None:
    stopped = trainer(adapted(["method.dropout=0.1"]), tmp_path)

    def after_five() -> RunEnded | None:
        return RunEnded("interrupted", "test") if stopped.state.step == 5 else None

    with pytest.raises(RunEnded):
        stopped.run(after_five, quiet)
    path = tmp_path / "checkpoint.pt"
    DAMAGE[kind](path)
    anew = trainer(adapted(["method.dropout=0.1"]), tmp_path)
    line = anew.resume()
    if kind == "longer" and line is None:  # what is behind a zip file's end is not part of it
        assert anew.state.step == 5
    else:
        assert line is not None
        assert line.startswith("the checkpoint cannot be used (")
        assert line.endswith("training starts anew")
        assert "weights_only" not in line
        assert len(line.splitlines()) == 1
        assert anew.state.step == 0
        assert (tmp_path / "checkpoint.pt.damaged").exists()
        assert not path.exists()
    assert losses(anew.run(never, quiet)) == at_once


# The cache


def whole_and_changed(folder: Path) -> Callable[[Path], None]:
    """What builds a folder like those of the cache."""

    def build(partial: Path) -> None:
        (partial / "scores.json").write_text('{"quality": {"bleu": 1.5}}')
        (partial / "deeper").mkdir()
        (partial / "deeper" / "weights.bin").write_bytes(bytes(range(256)) * 40)

    return build


CHANGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "emptied": lambda path: path.write_bytes(b""),
    "bits": lambda path: flip(path, count=1),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a broken link": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("name", ["scores.json", "deeper/weights.bin", SUMS])
def test_a_changed_cache_is_built_anew(
    kind: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "quality-1"
    build = whole_and_changed(folder)
    build_once(folder, build)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    cache._seen.clear()  # as in another process
    CHANGES[kind](folder / name)
    assert build_once(folder, build) == folder
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    line = f"{folder}: not as it was kept (its files do not match their checksums); made anew\n"
    assert capsys.readouterr().err == line
    build_once(folder, build)
    assert capsys.readouterr().err == "", "told once"


def test_a_folder_of_another_base_is_built_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = tmp_path / "quality-1", tmp_path / "quality-2"
    for folder in (one, other):
        build_once(folder, whole_and_changed(folder))
    shutil.rmtree(one)
    shutil.copytree(other, one)
    (one / "more").touch()
    cache._seen.clear()
    build_once(one, whole_and_changed(one))
    assert "made anew" in capsys.readouterr().err
    assert not (one / "more").exists()
    (one / "scores.json").write_bytes((other / "scores.json").read_bytes())  # the same content is no damage
    build_once(one, whole_and_changed(one))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_text_of_the_cache_is_none(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.json"
    assert kept(path) is None
    keep(path, '{"a": 1}\n\n')
    assert kept(path) == '{"a": 1}\n\n'
    keep(tmp_path / "other.json", "{}")
    CHANGES[kind](path)
    assert kept(path) is None
    said = capsys.readouterr().err
    assert said == (
        "" if kind == "gone" else f"{path}: not as it was kept (it does not match its checksum); made anew\n"
    )
    keep(path, "{}")
    path.write_bytes((tmp_path / "other.json").read_bytes())
    assert kept(path) is None, "another's"


def test_a_run_with_a_damaged_cache_scores_the_same(
    run_point: Callable[..., Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file of the cache that a run reads, damaged at once; the worker of other tests has another cache."""
    from harness.launch import run_once

    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    run_once.close()
    try:
        first = run_point("inference.batch_sizes=[1]")
        kinds = (".json", ".jsonl", ".safetensors")
        files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix in kinds]
        read = {"scores.json", "predictions.jsonl", "text.json", "panel.jsonl", "logits.safetensors", "inference.json"}
        assert read <= {path.name for path in files}
        for path in files:
            if path.name != SUMS:
                flip(path, count=1)
        run_once.close()
        again = run_point("inference.batch_sizes=[1]", "force=true")
    finally:
        run_once.close()
    assert (again.status, again.quality, again.base_quality) == ("ok", first.quality, first.base_quality)
    assert again.forgetting == first.forgetting
    lines = [line for line in again.warnings if "not as it was kept" in line]
    assert len(lines) == 4, again.warnings  # its plan, and the base's scores, forgetting and latency


def test_a_run_says_that_its_checkpoint_was_of_no_use(
    run_point: Callable[..., Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run_point()
    folder = run_folder(tmp_path / "results", first.id)
    (folder / "record.json").unlink()
    (folder / "checkpoint.pt").write_text("what another program has left")
    again = run_point()
    assert (again.status, again.resumed_from, again.quality) == ("ok", 0, first.quality)
    assert [line for line in again.warnings if "set aside" in line]
    assert json.dumps(again.warnings).count("set aside") == 1
    assert "lora r=8: the checkpoint cannot be used (it is not a whole file)" in capsys.readouterr().err


# What a run has left


def test_what_a_run_left_is_told_from_what_became_of_it(
    run_point: Callable[..., Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    record = run_point()
    folder = run_folder(results, record.id)
    listed = subprocess.run(["sha256sum", "-c", checksums.NAME], cwd=folder, capture_output=True, text=True, check=True)
    assert {"record.json: OK", "config.json: OK", "predictions.jsonl: OK"} <= set(listed.stdout.splitlines())
    assert "adapter/adapter_model.safetensors: OK" in listed.stdout
    assert checksums.changed(folder, "*") is None
    write_sweep(results, "one", "?", [{"id": record.id, "label": "lora", "overrides": ""}])

    for name in ("predictions.jsonl", "curve.jsonl", "panel.jsonl", "ledger.json"):
        whole = (folder / name).read_bytes()
        for kind in ("cut", "emptied", "bits"):
            CHANGES[kind](folder / name)
            load_all(results, ["one"])
            assert f"warning: {folder / name}: not as the run left it; delete" in capsys.readouterr().err
            (folder / name).write_bytes(whole)
    load_all(results, ["one"])
    assert capsys.readouterr().err == ""

    path = folder / "record.json"
    text = path.read_text()
    path.write_text(text.replace('"step": 6', '"step": 7'))
    (run,) = load_all(results, ["one"])[0].runs
    assert run.problem == f"{path}: not as the run left it; delete it and run again"
    assert finished_record(results, record.id) is None
    line = f"{path}: not as the run left it; set aside as record.unreadable-1.json, the run is done again"
    assert line in capsys.readouterr().err

    path.write_text(text)
    flip(folder / checksums.NAME, count=1)  # then nothing can be told, and the record is taken
    assert finished_record(results, record.id) == record
    (folder / checksums.NAME).unlink()
    assert finished_record(results, record.id) == record
