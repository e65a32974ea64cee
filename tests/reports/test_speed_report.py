"""The table of training speed, and the marks of a noisy machine: hand-computed values."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.results.sections import Machine, Throughput
from reports.__main__ import main
from reports.read.curves import Reached, curve_lines, reach
from tests.support.records import add, add_base, run_folder, sweep

CURVE = [
    {"step": 1, "tokens": 100, "seconds": 2.0},
    {"step": 2, "tokens": 50, "seconds": 1.0, "val_loss": 1.8},
    {"step": 3, "tokens": 70, "seconds": 1.5, "val_loss": 1.7},
    {"step": 4, "tokens": 30, "seconds": 0.5, "val_loss": 1.2},
]
SPEED = Throughput(
    tokens_per_second=180.4,
    samples_per_second=4.0,
    tokens_per_second_iqr=2.0,
    timed_steps=20,
    step_seconds_p50=0.25,
    step_seconds_p95=0.5,
    shares={"data": 0.01, "forward": 0.29, "backward": 0.5, "step": 0.15, "logging": 0.05},
    flops_per_token=530e6,
    flops_per_second=95.6e9,
    gemm_flops_per_second=382.4e9,
    utilization=0.25,
)


def machine(*noisy: str) -> Machine:
    return Machine(
        cores=2, seconds=5.0, steal=0.0, others=0.2, load=1.0,
        gemm_flops_before=3e11, gemm_flops_after=3.824e11, drift=0.27, noisy=list(noisy),
    )  # fmt: skip


def curve(results: Path, run: str, lines: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run_folder(results, run) / "curve.jsonl").write_text(text)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    add_base(tmp_path)
    add(tmp_path, "quiet", None, throughput=SPEED, machine=machine())
    add(tmp_path, "noisy", None, throughput=SPEED, machine=machine("other processes took 20% of the cores"))
    add(tmp_path, "older", None)
    curve(tmp_path, "quiet", CURVE)
    curve(tmp_path, "noisy", CURVE[:2])
    sweep(tmp_path, "zero_shot", "quiet", "noisy", "older", "absent")
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """The cells of each row of the Markdown table, by its label."""
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in ([c.strip() for c in line.strip("|").split("|")] for line in lines)}


def test_a_loss_is_reached_at_the_first_validated_step_at_or_below_it() -> None:
    assert reach(CURVE, 1.7) == Reached(step=3, tokens=220, seconds=4.5)
    assert reach(CURVE, 1.79) == Reached(step=3, tokens=220, seconds=4.5)
    assert reach(CURVE, 5.0) == Reached(step=2, tokens=150, seconds=3.0)
    assert reach(CURVE, 1.0) is None


def test_a_curve_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    assert curve_lines(path) == []
    path.write_text(json.dumps(CURVE[0]) + '\n[1]\n{"step": 2}\n{"step": 2, "tok')
    assert curve_lines(path, "tokens", "seconds") == CURVE[:1]


def test_the_table(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["s", "--table", "speed", "--results", str(results), "--reach", "1.7"]) == 0
    out = capsys.readouterr().out
    print(out)
    rows = shown(capsys)
    speeds = ["250", "500", "1.0", "29.0", "50.0", "15.0", "5.0", "530", "95.6", "382", "25.0"]
    assert rows["quiet"] == ["180", *speeds, "4.5", "220"]
    assert rows["noisy"] == ["180 [1]", *speeds, "— [3]", "— [3]"]
    assert rows["older"] == ["180", *["— [2]"] * 11, "— [4]", "— [4]"]
    assert "zero_shot" not in rows
    assert "[1] noisy machine: other processes took 20% of the cores" in out
    assert "[3] not reached; lowest validation loss 1.800" in out
    assert "[4] no curve.jsonl" in out
    assert "Left out: zero_shot (not trained); absent (not run)." in out


def test_formats(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form, sign in (("latex", "\\begin{table}"), ("html", "<table>")):
        assert main(["s", "--table", "speed", "--results", str(results), "--format", form]) == 0
        assert sign in capsys.readouterr().out
    assert main(["s", "--table", "speed", "--results", str(results), "--reach", "1.7", "--format", "csv"]) == 0
    quiet, noisy, older = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (quiet["backward_share"], quiet["seconds_to_loss"], quiet["noisy"]) == ("0.5", "4.5", "")
    assert (noisy["seconds_to_loss"], noisy["noisy"]) == ("", "other processes took 20% of the cores")
    assert older["utilization"] == ""
    assert main(["s", "--table", "speed", "--results", str(results), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["flops_per_token"] == 530e6
    path = tmp_path / "speed.parquet"
    assert main(["s", "--table", "speed", "--results", str(results), "--format", "parquet", "--output", str(path)]) == 0
    assert pd.read_parquet(path)["utilization"].dropna().tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["s", "--reach", "nan"], "--reach nan: needs --table speed and a loss such as 1.7\n"),
        (["s", "--format", "parquet"], "--format parquet: is no text; name a file with --output\n"),
        (
            ["none"],
            "none: none of its 0 runs has a readable record in {results}; run it (python -m harness +sweep=none)\n",
        ),
    ],
)
def test_bad_input(arguments: list[str], said: str, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "sweeps/none.json").write_text(json.dumps({"question": "", "runs": []}))
    assert main([*arguments, "--table", "speed", "--results", str(results)]) == 2
    assert capsys.readouterr().err == "error: " + said.format(results=results)


def test_the_main_table_marks_a_noisy_machine(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["s", "--results", str(results), "--table", "methods"]) == 0
    out = capsys.readouterr().out
    print(out)
    rows = shown(capsys)
    (note,) = (line for line in out.splitlines() if "timed on a noisy machine" in line)
    assert f"180 {note.split()[1]}" in rows["noisy"]
    assert "180" in rows["quiet"]
