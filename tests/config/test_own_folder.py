"""A folder of one's own: configurations, sweeps and Python, from anywhere; and what is told of one that is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.config.narrowing import narrowed
from harness.config.sweeps import points
from harness.errors import UserError
from harness.places import OWN, take_folders
from harness.results.folder import read_record
from tests.support.command_line import TINY, Harness

FAST = (*TINY, "train.steps=3", "train.warmup_steps=1", "train.validation_examples=4", "forgetting.max_tokens=256")


def command(*words: str, cwd: Path, package: str = "harness") -> subprocess.CompletedProcess[str]:
    """`python -m harness` in a folder that is none of the project's."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", package, *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        timeout=600,
    )


@pytest.fixture
def own(tmp_path: Path) -> Path:
    made = command("init", "mine", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "--config-dir mine +sweep=first" in made.stdout
    return tmp_path / "mine"


def test_a_method_a_metric_and_data_of_ones_own_run_and_are_reported(own: Path) -> None:
    place = own.parent
    ran = command("--config-dir", "mine", "+sweep=first", *FAST, cwd=place)
    assert ran.returncode == 0, ran.stderr
    records = {path.parent.name: read_record(path) for path in place.glob("results/runs/*/record.json")}
    assert sorted(record.method for record in records.values()) == ["lora"] * 2 + ["value_weights"] * 2 + ["zero_shot"]
    for record in records.values():
        assert record.status == "ok"
        assert record.quality["digits"] is not None
        assert record.signatures["digits"] == "digits|v1"
    again = command("+sweep=first", "-cd=mine", *FAST, "--dry-run", cwd=place)
    assert again.stdout.splitlines()[-1] == "5 of 5 done in results"
    table = command("--config-dir=mine", "first", "--score", "digits", cwd=place, package="reports")
    assert table.returncode == 0, table.stderr
    assert "value weights" in table.stdout
    for words in (("--config-dir", "mine", "method=value_weights", "data=sums"), ("method=lora", "-cd", "mine")):
        shown = command(*words, "--cfg", "job", cwd=place)
        assert shown.returncode == 0, shown.stderr
        assert words[-1] in ("data=sums", "mine")
    planned = command("plan", "--config-dir", "mine", "method=value_weights", "model=tiny_random", cwd=place)
    assert planned.returncode == 0, planned.stderr


def test_a_sweep_by_the_path_of_its_file(own: Path) -> None:
    (own.parent / "alone.yaml").write_text((own / "sweeps/first.yaml").read_text())
    for path in ("alone.yaml", str(own / "sweeps/first.yaml")):
        listed = command("--config-dir", "mine", f"+sweep={path}", "--dry-run", cwd=own.parent)
        assert listed.stdout.splitlines()[-1] == "0 of 5 done in results", listed.stderr


WRONG = {
    "nothing": "is no folder; python -m harness init FOLDER",
    "empty": "has no method/*.yaml",
    "flat": "has no method/*.yaml",
    "shadows": "method/lora.yaml: the harness has a file of that name itself",
    "shadows_python": "metrics/bleu.py: the harness has a file of that name itself",
    "shadows_sweep": "sweeps/quickstart.yaml: the harness has a file of that name itself",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_folder_that_is_none(wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OWN, "")
    files = {"flat": "lora.yaml", "shadows": "method/lora.yaml", "shadows_python": "metrics/bleu.py"}
    files |= {"shadows_sweep": "sweeps/quickstart.yaml", "empty": ""}
    if wrong in files:
        place = tmp_path / wrong / files[wrong]
        place.parent.mkdir(parents=True, exist_ok=True)
        (place.mkdir if not files[wrong] else place.touch)(exist_ok=True)
    refused = command("--config-dir", wrong, "method=lora", cwd=tmp_path)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert WRONG[wrong] in line


def test_other_slips_are_told_in_a_line(own: Path) -> None:
    (own / "sweeps/list.yaml").write_text("- method=lora\n")
    (own / "sweeps/broken.yaml").write_text("question: [\n")
    lora = "_target_: harness.methods.lora.Lora\nname: mine\nlr: 1e-3\nrank: 2\nalpha: 2\ndropout: 0\n"
    (own / "method/mine.yaml").write_text(f"{lora}default_roles: [q]\n")
    (own / "method/gone.yaml").write_text("_target_: harness.methods.gone.Gone\nname: gone\nlr: 1e-3\n")
    for words, said in {
        ("method=lora", "--config-dir"): "--config-dir: needs a folder",
        ("init", "mine"): "mine: is there already, and not empty",
        ("+sweep=nowhere/first.yaml",): "there is no such file",
        ("-cd", "mine", "+sweep=list"): "is no file of a sweep",
        ("-cd", "mine", "+sweep=broken"): "is no YAML",
        ("-cd", "mine", "method=gone"): "harness.methods.gone.Gone: there is no such class of settings",
        (
            "-cd",
            "mine",
            "method=mine",
            "quantization=nf4",
        ): "does not say that it works on 4bit weights (its file",
    }.items():
        refused = command(*words, cwd=own.parent)
        assert refused.returncode == 2, (words, refused.stdout)
        (line,) = refused.stderr.splitlines()
        assert said in line


def test_an_override_goes_to_the_rows_that_know_it(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [" ".join(row) for row in points(["+sweep=quickstart", "method.rank=1,16", "seed=3"], many=True)]
    assert all("seed=3" in row for row in rows)
    ranks = [row for row in rows if "method.rank" in row]
    assert [row.partition("method.rank=")[2].split()[0] for row in ranks] == ["1", "16"]
    assert all("method=lora" in row for row in ranks)
    assert len(rows) == 7, "rows without a rank stay, once each"
    said = capsys.readouterr().err
    assert said.startswith("method.rank: rows of method=zero_shot, method=ia3,")
    with pytest.raises(UserError, match=r"^method\.rnak: no row has such a setting; did you mean method\.rank\?$"):
        points(["+sweep=quickstart", "method.rnak=1"], many=True)


def test_folders_come_in_the_order_given_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OWN, "")
    for name in "ab":
        (tmp_path / name / "method").mkdir(parents=True)
        (tmp_path / name / "method" / f"own_{name}.yaml").touch()
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert take_folders(["x=1", "--config-dir", a, "-m", f"-cd={b}", "--config-dir", a]) == ["x=1", "-m"]
    assert os.environ[OWN] == os.pathsep.join([a, b])


def test_narrowing_leaves_a_single_row_alone(harness: Harness) -> None:
    row = ("method=ia3", "method.rank=4")
    assert narrowed({row: 0}, ["method.rank=4"], None) == {row: 0}  # type: ignore[arg-type]  # it asks nothing of it
