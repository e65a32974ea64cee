"""The regression gate on the committed records of every method: what moved, exit codes, files, and bad inputs."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import UserError
from reports.__main__ import main
from reports.gate.baseline import dump, load, parse, ranges
from reports.gate.compare import compare, confirmed
from reports.gate.entries import Baseline, Entry
from reports.gate.measure import of_folder
from reports.gate.rows import Comparison
from reports.gate.show import junit, text

RESULTS = Path(__file__).parents[2] / "docs/results/methods"


@pytest.fixture(scope="module")
def before() -> Baseline:
    return of_folder(RESULTS, "methods")


@pytest.fixture
def file(before: Baseline, tmp_path: Path) -> Path:
    path = tmp_path / "baseline.yaml"
    path.write_text(dump(before), encoding="utf-8")
    return path


def changed(before: Baseline, change: Callable[[Entry], dict[str, object]]) -> Baseline:
    """The baseline with each run changed."""
    runs = {name: entry.model_copy(update=change(entry)) for name, entry in before.runs.items()}
    return before.model_copy(update={"runs": runs})


def regressions(found: Comparison) -> set[tuple[str, str]]:
    return {(row.run, row.measure) for row in found.of("regression")}


def test_a_file_holds_all_that_was_measured(before: Baseline, file: Path) -> None:
    assert load(file) == before
    assert dump(load(file)) == file.read_text(encoding="utf-8")
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "parameters.trainable: 2442240" in line], "a line a measure"


def test_the_same_records_are_quiet(before: Baseline) -> None:
    found = compare(before, before)
    assert not found.of("regression")
    assert not found.of("improvement")
    assert len(found.of("same")) > 5 * len(before.runs)


def test_one_parameter_more_is_a_regression_and_a_byte_less_is_told(before: Baseline) -> None:
    more = changed(before, lambda e: {"exact": e.exact | {"parameters.trainable": e.exact["parameters.trainable"] + 1}})
    assert regressions(compare(before, more)) == {(name, "parameters.trainable") for name in before.runs}
    less = changed(
        before, lambda e: {"exact": e.exact | {"parameters.adapter_bytes": e.exact["parameters.adapter_bytes"] - 1}}
    )
    assert not regressions(compare(before, less))
    assert len(compare(before, less).of("improvement")) == len(before.runs)


@pytest.mark.parametrize(("factor", "worse"), [(1.006, True), (1.004, False), (0.9, False)])
def test_memory_that_cuda_counts(before: Baseline, factor: float, worse: bool) -> None:
    def peak(times: float) -> Baseline:
        return changed(before, lambda _: {"memory": {"train_cuda_allocated": [round(1e9 * times)]}})

    assert bool(regressions(compare(peak(1), peak(factor)))) is worse


def test_resident_memory_by_its_own_noise(before: Baseline) -> None:
    def peaks(*values: float) -> Baseline:
        return changed(before, lambda _: {"memory": {"train_rss_growth": [round(1e9 * v) for v in values]}})

    assert regressions(compare(peaks(1, 1.001, 0.999), peaks(1.02, 1.021, 1.019)))
    assert not regressions(compare(peaks(1, 1.1, 0.9), peaks(1.02, 1.12, 0.92)))
    other = peaks(2, 2, 2).model_copy(update={"machine": before.machine.model_copy(update={"allocator": "X=1"})})
    assert not regressions(compare(peaks(1, 1, 1), other))


def test_a_slower_step_and_one_repeat(before: Baseline) -> None:
    def speeds(*values: float) -> Baseline:
        return changed(before, lambda _: {"throughput": list(values)})

    slower = compare(speeds(100, 101, 99), speeds(80, 81, 79))
    assert regressions(slower) == {(f"all {len(before.runs)} runs", "tokens per second")}
    assert not regressions(compare(speeds(100, 101, 99), speeds(125, 126, 124)))
    assert not regressions(compare(speeds(100), speeds(50)))
    quiet = compare(speeds(100, 101, 99), speeds(100, 101, 99))
    assert not regressions(confirmed(slower, quiet))
    assert regressions(confirmed(slower, slower)) == regressions(slower)


def test_a_small_drop_of_most_runs_is_one_finding_and_no_run_is(before: Baseline) -> None:
    """One example fewer of twenty loses a few of its matching words, in every run but two."""
    spared = set(list(before.runs)[:2])

    def worse(entry: Entry) -> dict[str, object]:
        if entry.key in {before.runs[name].key for name in spared}:
            return {}
        return {"quality": {name: value - 0.2 for name, value in entry.quality.items() if value is not None}}

    found = compare(before, changed(before, worse), kinds=("quality",))
    assert {run for run, _ in regressions(found)} == {f"all {len(before.runs)} runs"}
    assert {measure for _, measure in regressions(found)} == {"mean bleu"}  # a lower loss is better


def test_a_run_whose_answers_are_wrong_is_found_alone(before: Baseline) -> None:
    name = "lora r=8"
    entry = before.runs[name]
    rows = [each.split() for each in entry.examples["bleu"].split(";")]
    broken = ";".join(" ".join([*row[:2], "0", "0", "0", "0", *row[6:]]) for row in rows)
    runs = before.runs | {name: entry.model_copy(update={"examples": entry.examples | {"bleu": broken}})}
    found = compare(before, before.model_copy(update={"runs": runs}), kinds=("quality",))
    assert regressions(found) == {(name, "bleu")}


def test_a_run_that_fails_or_has_no_number_is_a_regression(before: Baseline) -> None:
    assert len(regressions(compare(before, changed(before, lambda _: {"failed": "oom: no memory"})))) == len(
        before.runs
    )
    lost = changed(before, lambda e: {"quality": e.quality | {"bleu": None}})
    assert regressions(compare(before, lost)) == {(name, "bleu") for name in before.runs}


def test_another_machine_leaves_what_does_not_depend_on_it(before: Baseline) -> None:
    away = before.model_copy(update={"machine": before.machine.model_copy(update={"device": "cpu: other"})})
    slow = changed(away, lambda e: {"throughput": [1.0], "examples": {}})
    found = compare(before, slow)
    assert not regressions(found)
    assert {row.kind for row in found.rows} <= {"parameters", "quality"}
    assert any("another machine" in remark for remark in found.remarks)
    fp32 = changed(before, lambda _: {"dtype": "fp32"})
    off = changed(fp32, lambda e: {"quality": {name: 1.03 * (value or 0) for name, value in e.quality.items()}})
    off = off.model_copy(update={"machine": away.machine})
    moved = {row.run for row in compare(fp32, off).of("moved")}
    assert moved == {n for n, e in before.runs.items() if "val_loss" in e.quality}


def test_a_run_that_is_gone_is_said_and_the_others_compared(before: Baseline) -> None:
    runs = dict(list(before.runs.items())[1:])
    gone = next(iter(before.runs))
    found = compare(before, before.model_copy(update={"runs": runs}))
    assert found.absent == ((gone, "it was not measured"),)
    with pytest.raises(UserError, match="none of the baseline's"):
        compare(before, changed(before, lambda _: {"key": "0"}))


def test_output(before: Baseline) -> None:
    after = changed(before, lambda e: {"exact": e.exact | {"parameters.total": 1}})
    after = after.model_copy(update={"versions": before.versions | {"peft": "99.0"}})
    runs = {f"a|<b> & {name}": entry for name, entry in before.runs.items()}
    named = before.model_copy(update={"runs": runs})
    found = compare(named, after)
    said = text(found, named, after, markdown=True)
    rows = [line for line in said.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(before.runs)
    assert {line.replace("\\|", "").count("|") for line in rows} == {9}
    assert f"peft {before.versions['peft']} → 99.0" in said
    suite = ET.fromstring(junit(found, "methods"))
    assert suite.get("failures") == str(len(before.runs)) == str(len(suite.findall("testcase/failure")))
    assert suite.get("tests") == str(len(suite.findall("testcase"))) == str(len(found.rows))


def test_commands(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "junit.xml"
    here = ["--baseline", str(file), "--results", str(RESULTS)]
    assert main(["baseline", "compare", *here, "--junit", str(report)]) == 0
    assert "0 regressions" in capsys.readouterr().out
    assert ET.parse(report).getroot().get("failures") == "0"
    file.write_text(file.read_text().replace("parameters.total: ", "parameters.total: 9"))
    assert main(["baseline", "compare", *here, "--format", "markdown"]) == 1
    assert "| regression |" in capsys.readouterr().out
    assert main(["baseline", "save", "methods", *here]) == 2  # there already
    assert main(["baseline", "accept", *here, "--reason", "a head was added"]) == 0
    assert main(["baseline", "compare", *here]) == 0
    assert load(file).accepted[-1].reason == "a head was added"
    assert main(["baseline", "accept", *here, "--reason", " "]) == 2


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text[: len(text) // 2], "not a whole baseline"),
        (lambda text: text[: text.rindex("\n  ") + 1], "not a whole baseline"),
        (
            lambda text: text.replace("schema_version: 1", "schema_version: 2"),
            "written in schema 2, this version reads 1",
        ),
        (lambda text: text.replace("schema_version: 1", "version: 1"), "it has no schema_version"),
        (lambda text: "", "not a baseline"),
        (lambda text: text.replace("val_loss: 1", "val_loss: .nan #", 1), "val_loss: Input should be a finite number"),
        (
            lambda text: text.replace("examples:\n      bleu: ", "examples:\n      bleu: x ", 1),
            "statistics of examples",
        ),
        (lambda text: text[: text.index("\nruns:")] + "\nruns: {}\n...\n", "without runs"),
    ],
)
def test_files_that_are_none(
    spoil: Callable[[str], str], said: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(spoil(file.read_text(encoding="utf-8")), encoding="utf-8")
    assert main(["baseline", "compare", "--baseline", str(file), "--results", str(RESULTS)]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert len(error.splitlines()) == 1


def test_nothing_to_compare(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = str(tmp_path / "none")
    assert main(["baseline", "compare", "--baseline", str(file), "--results", nowhere]) == 2
    assert main(["baseline", "compare", "--baseline", nowhere]) == 2
    assert main(["regress", "--baseline", nowhere]) == 2
    empty = tmp_path / "empty"
    shutil.copytree(RESULTS / "sweeps", empty / "sweeps")
    assert main(["baseline", "compare", "--baseline", str(file), "--results", str(empty)]) == 2
    assert main(["baseline", "compare", "--baseline", str(file), "--alpha", "2"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 5


def test_ranges() -> None:
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2 5 7-8"
    assert ranges([]) == ""


def test_a_text_that_is_no_baseline_names_its_source() -> None:
    with pytest.raises(UserError, match=r"HEAD:b\.yaml"):
        parse("[1, 2", "HEAD:b.yaml")
