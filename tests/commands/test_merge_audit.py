"""Sweeps that were asked for in parts, on one machine or several: one table, from which nothing has gone."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.config.sweeps import asked_for
from harness.errors import UserError
from harness.results.folder import run_id
from harness.results.record import Record
from harness.results.sweep_files import checked_name, read_sweep, recorded_sweeps, sweep_files, united, write_sweep
from reports.__main__ import main
from reports.commands.table import report
from reports.page.collect import collect
from reports.read.runs import load_sweep
from tests.support.command_line import Harness
from tests.support.records import add, key, spoiled

METHODS = ("zero_shot", "lora", "ia3")
SEEDS = (0, 1, 2)


def make(results: Path, method: str, seed: int, device: str = "cpu: X", **given: Any) -> dict[str, Any]:
    """A run with its record, as a sweep of `method=…` grids lists it."""
    untrained = method == "zero_shot"
    changed = {"settings__seed": None if untrained else seed, "environment__device": device}
    made = key({"name": method}, **changed | given.pop("changed", {}))
    if untrained:
        given |= {"learning_rate": None}
    name, wrong = run_id(method, made), 0.5 if untrained else 0.2 + METHODS.index(method) / 20
    fields = {"key": made, "label": method.replace("_", " ")} | given
    texts = fields.pop("texts", None) or spoiled(wrong, seed=40 if untrained else seed)
    add(results, name, texts, {"name": method}, **fields)
    overrides = f"method={method} seed={seed}"
    return {"id": name, "label": method.replace("_", " "), "overrides": overrides, "grid": METHODS.index(method)}


def machine(results: Path, seeds: Sequence[int], device: str = "cpu: X", methods: Sequence[str] = METHODS) -> Path:
    """Results of a sweep of these seeds, in the order in which the harness expands it."""
    write_sweep(results, "s", "Q?", [make(results, method, seed, device) for method in methods for seed in seeds])
    return results


def copied(into: Path, *others: Path) -> Path:
    """The folders copied into a new one, one over the other."""
    for folder in others:
        shutil.copytree(folder, into, dirs_exist_ok=True)
    return into


@pytest.mark.parametrize("form", ["markdown", "csv"])
@pytest.mark.parametrize("parts", [([0], [1], [2]), ([0, 1], [2]), ([0, 1], [1, 2]), ([0, 1, 2], [1])])
def test_split_by_seed_it_is_the_table_of_one_machine(tmp_path: Path, parts: list[list[int]], form: str) -> None:
    whole = report(machine(tmp_path / "whole", SEEDS), ["s"], form, "methods")
    folders = [machine(tmp_path / f"m{n}", seeds) for n, seeds in enumerate(parts)]
    for n, order in enumerate(itertools.permutations(folders)):
        assert report(order, ["s"], form, "methods") == whole
        assert report(copied(tmp_path / f"{form} {n}", *order), ["s"], form, "methods") == whole


def test_split_by_method_and_asked_for_again(tmp_path: Path) -> None:
    whole = report(machine(tmp_path / "whole", SEEDS), ["s"], "csv", "methods")
    one, two = machine(tmp_path / "one", SEEDS, methods=["zero_shot", "ia3"]), tmp_path / "two"
    machine(two, SEEDS, methods=["lora"])
    assert report([one, two], ["s"], "csv", "methods") == report([two, one], ["s"], "csv", "methods") == whole
    before = sweep_files(one, "s")
    machine(one, SEEDS, methods=["zero_shot", "ia3"])
    assert sweep_files(one, "s") == before  # the same asking is the same file
    machine(one, SEEDS, methods=["lora"])
    assert len(sweep_files(one, "s")) == 2
    assert report(one, ["s"], "csv", "methods") == whole
    sweep_files(one, "s")[0].unlink()  # how a user leaves runs out
    assert len(load_sweep(one, "s").runs) in (3, 4)


def test_what_an_earlier_version_wrote_is_part_of_it(tmp_path: Path) -> None:
    whole = report(machine(tmp_path / "whole", SEEDS), ["s"], "csv", "methods")
    one = machine(tmp_path / "one", [0])
    (path,) = sweep_files(one, "s")
    content = json.loads(path.read_text())
    for run in content["runs"]:
        del run["grid"]
    path.unlink()
    (one / "sweeps" / "s.json").write_text(json.dumps(content))
    machine(one, [1, 2])
    assert report(one, ["s"], "csv", "methods") == whole
    assert recorded_sweeps(one) == ["s"]


def test_names_with_folders_dots_and_digits(tmp_path: Path) -> None:
    runs = [make(tmp_path, "lora", 0)]
    names = ["papers/x", "papers/x.y", "x", "x.0123", "lora-2f.final"]
    for name in names:
        write_sweep(tmp_path, name, f"{name}?", runs)
    assert recorded_sweeps(tmp_path) == sorted(names)
    for name in names:
        assert read_sweep([tmp_path], name)["question"] == f"{name}?"


def test_ten_comes_after_nine_and_the_order_of_askings_is_no_matter() -> None:
    def asking(*seeds: int) -> dict[str, Any]:
        runs = [
            {"id": f"{rank}{seed}", "label": "", "overrides": f"method.rank={rank} seed={seed}", "grid": 0}
            for seed in seeds
            for rank in (8, 1)  # as someone gave them
        ]
        return {"question": "?", "runs": runs}

    whole = united([asking(*range(12))])
    assert [run["id"] for run in whole["runs"]] == [f"{rank}{seed}" for seed in range(12) for rank in (8, 1)]
    parts = [asking(10, 11), asking(*range(5)), asking(9), asking(*range(5, 9))]
    assert united(parts) == united(parts[::-1]) == whole


# Repeats


def test_two_records_of_one_run_are_kept_and_the_first_ok_one_used(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    early, late = "2025-01-01T00:00:00+00:00", "2025-01-02T00:00:00+00:00"
    runs = [make(one, "zero_shot", 0, started=late), make(one, "lora", 0)]
    make(two, "zero_shot", 0, started=early, texts=spoiled(0.4, seed=3))
    make(three, "zero_shot", 0, started="2024-01-01T00:00:00+00:00", status="error", cause="broken")
    for folder in (one, two, three):
        write_sweep(folder, "s", "Q?", runs)
    texts = {report(order, ["s"], "markdown", "methods") for order in itertools.permutations([one, two, three])}
    assert len(texts) == 1
    (text,) = texts
    used = load_sweep([one, two, three], "s").runs[0]
    assert used.folder.results == two
    assert f"the record of {two} is used, as the first to be started that is ok" in text
    assert f"{one} (ok)" in text
    assert f"{three} (error)" in text
    assert "they differ in bleu" in text
    for table in ("speed", "storage", "memory"):
        assert str(two) in report([one, two, three], ["s"], "markdown", table)
    rows, _ = collect([one, two, three])
    assert [row.note for row in rows if row.run.label == "zero shot"] == ["recorded differently in 3 folders"] * 3
    assert report([two, copied(tmp_path / "same", two)], ["s"], "csv", "methods") == report(
        two, ["s"], "csv", "methods"
    )


def test_a_record_lies_where_its_run_was_not_asked_for(tmp_path: Path) -> None:
    machine(tmp_path / "one", [0])
    shutil.copytree(tmp_path / "one", tmp_path / "asked")
    shutil.rmtree(tmp_path / "asked" / "runs")
    shutil.rmtree(tmp_path / "one" / "sweeps")
    assert load_sweep([tmp_path / "asked", tmp_path / "one"], "s").count()["done"] == 3


# Unlike machines


def test_split_by_seed_over_unlike_machines(tmp_path: Path) -> None:
    """Seeds of both are one row, whose timings are marked; the base is there once."""
    one = machine(tmp_path / "one", [0, 1])
    two = machine(tmp_path / "two", [2], device="cpu: Y")
    found = load_sweep([two, one], "s")
    assert [run.label for run in found.runs if run.label == "zero shot"] == ["zero shot"]
    text = report([one, two], ["s"], "markdown", "methods")
    assert text == report([two, one], ["s"], "markdown", "methods")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert rows[2:] == ["zero shot", "lora", "ia3"]
    assert "the same run on another machine" in text
    devices = "cpu: X: zero shot; cpu: X and cpu: Y: lora, ia3"
    assert f"not comparable between rows, made on different hardware: environment.device ({devices})" in text
    assert "the first to be started" in text
    scores = [(run.label, record.quality["bleu"]) for run, record in found.done]
    whole = load_sweep(machine(tmp_path / "whole", SEEDS), "s")
    assert scores == [(run.label, record.quality["bleu"]) for run, record in whole.done]


def test_the_same_runs_on_unlike_machines_are_about_the_machines(tmp_path: Path) -> None:
    one, two = machine(tmp_path / "one", [0, 1]), machine(tmp_path / "two", [0, 1], device="cpu: Y")
    labels = [run.label for run in load_sweep([one, two], "s").runs]
    assert sorted(set(labels)) == sorted(
        f"{name}, device cpu: {device}" for name in ("zero shot", "lora", "ia3") for device in "XY"
    )
    assert report([one, two], ["s"], "csv", "methods").count("\n") == 1 + 12 - 2  # an untrained run has one seed


# Settings that differ


def test_rows_of_other_settings_are_told_apart(tmp_path: Path) -> None:
    machine(tmp_path, [0])
    more = [make(tmp_path, name, 0, changed={"settings__train__steps": 60}) for name in ("lora", "ia3")]
    for run in more:
        run["overrides"] += " train.steps=60"
    write_sweep(tmp_path, "s", "Q?", more)
    assert [run.label for run in load_sweep(tmp_path, "s").runs] == [
        *("zero shot", "lora, train.steps 30", "lora, train.steps 60"),
        *("ia3, train.steps 30", "ia3, train.steps 60"),
    ]
    assert "settings.train.steps (30: lora, train.steps 30" in report(tmp_path, ["s"], "markdown", "methods")


# Names


def test_a_sweep_without_a_file_has_a_name_of_its_own() -> None:
    def name(*arguments: str) -> str:
        return asked_for(arguments)[0].name

    first = name("method=lora,ia3", "seed=0,1,2", "train.steps=20", "results=/some/where", "tracker=none")
    assert first.startswith("method-lora-ia3_seed-0-1-2-")
    assert first == name("results=other", "seed=0,1,2", "train.steps=20", "method=lora,ia3", "force=true").replace(
        "seed-0-1-2_method-lora-ia3", "method-lora-ia3_seed-0-1-2"
    )
    assert first != name("method=lora,ia3", "seed=0,1,2", "train.steps=21")
    long = name("data.prompt='{{ source }}, \u00fcber/../etc'", f"method.lr={','.join(map(str, range(99)))}")
    assert len(long) < 70
    assert not set(long) & set("/.{ '")
    assert name("method=lora")


@pytest.mark.parametrize("name", ["../up", "a/", "/a", "a b", "a/../b", "a.0123456789ab", ""])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"hydra\.sweeper\.name="):
        checked_name("hydra.sweeper.name", name)


def test_real_runs_split_by_seed(run_point: Callable[..., Record], harness: Harness, tmp_path: Path) -> None:
    """The command line, asked twice on one machine, and the same runs in two folders."""
    sweep = ("-m", "method=zero_shot,lora", "hydra.sweeper.name=papers/mine")
    for seed in (0, 1):
        result = harness(*sweep, f"seed={seed}")
        assert result.returncode == 0, result.stderr
    command = f"tables: python -m reports papers/mine --results {harness.results}"
    assert f"{command} (in them too: 1 run of before)" in result.stderr
    text = report(harness.results, ["papers/mine"], "csv", "methods")
    assert load_sweep(harness.results, "papers/mine").count() == {"done": 3, "failed": 0, "missing": 0}
    parts = []
    for number, path in enumerate(sweep_files(harness.results, "papers/mine")):
        part = tmp_path / f"m{number}"
        for run in json.loads(path.read_text())["runs"]:
            shutil.copytree(harness.results / "runs" / run["id"], part / "runs" / run["id"])
        (part / "sweeps/papers").mkdir(parents=True)
        shutil.copy(path, part / "sweeps/papers")
        parts.append(part)
    assert report(parts, ["papers/mine"], "csv", "methods") == text
    assert report(copied(tmp_path / "both", *parts), ["papers/mine"], "csv", "methods") == text
    assert main(["papers/mine", *(f"--results={part}" for part in parts[::-1])]) == 0


def test_neither_labels_nor_questions_nor_predictions_hang_on_the_order(tmp_path: Path) -> None:
    one, two = machine(tmp_path / "one", SEEDS), machine(tmp_path / "two", SEEDS)
    for path in two.glob("runs/*/predictions.jsonl"):
        path.unlink()  # the same records, with less beside them
    write_sweep(two, "s", "Another?", [make(two, "zero_shot", 0) | {"label": "the base"}])
    tables = {report(order, ["s"], "markdown", "methods") for order in ([one, two], [two, one])}
    assert len(tables) == 1


def test_any_sign_may_stand_in_an_override() -> None:
    odd = [{"id": str(n), "label": "", "overrides": f"data.prompt={sign}", "grid": 0} for n, sign in enumerate("²٣①")]
    assert len(united([{"question": "", "runs": odd}])["runs"]) == 3
