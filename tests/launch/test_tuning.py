"""A sweep that is tuned: trials choose, their records are enough to go on from, a trial is the run it stands for."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from harness.config.sweeps import points
from harness.errors import UserError
from harness.results.folder import read_record
from harness.results.record import Record
from reports.commands.table import report
from reports.read.runs import load_sweep
from tests.support.command_line import Harness, wait_for
from tests.support.tiny import settings

TUNED = ("method=lora", "tune=lr", "tune.points=4", "tune.extend=0", "train.steps=10", "train.warmup_steps=1")


def trials(results: Path) -> dict[str, Record]:
    """Every trial by its id."""
    return {path.parent.name: read_record(path) for path in sorted(results.glob("trials/*/record.json"))}


def written(results: Path) -> dict[Path, tuple[int, int]]:
    """Every record, and what tells it from another one in its place."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in results.glob("*/*/record.json")}


def asked(results: Path) -> list[dict[str, object]]:
    """The runs of the only asking there."""
    (path,) = results.glob("sweeps/*.json")
    return list(json.loads(path.read_text())["runs"])


def test_a_tuned_sweep_runs_what_its_trials_chose_and_nothing_twice(harness: Harness) -> None:
    first = harness(*TUNED, "method=lora,zero_shot", "seed=0,1", "hydra.sweeper.name=t")
    assert first.returncode == 0, first.stderr
    assert "zero shot trains nothing, so there is nothing to tune" in first.stderr
    tried = trials(harness.results)
    assert {record.status for record in tried.values()} == {"ok"}
    assert {record.key["settings"]["seed"] for record in tried.values()} == {1000}
    assert all(record.quality.keys() == {"val_loss"} for record in tried.values()), "a trial scores nothing"
    ended = [record for record in tried.values() if record.step == 10]
    best = min(ended, key=lambda record: record.quality["val_loss"] or 0)
    runs = asked(harness.results)
    chosen = {run["id"] for run in runs if run.get("tuned") and not run["tuned"]["default"]}  # type: ignore[index]
    rates = {record.learning_rate for name, record in harness.records().items() if name in chosen}
    assert rates == {best.learning_rate}
    assert not list(harness.results.glob("trials/*/checkpoint.pt"))
    text = report(harness.results, ["t"], "markdown", "tuned")
    assert "Trials: seeds 1000, validation examples alone." in text
    assert len(report(harness.results, ["t"], "csv", "methods").splitlines()) == 4, "header, two of lora, one base"

    before = written(harness.results)
    second = harness(*TUNED, "method=lora,zero_shot", "seed=0,1", "hydra.sweeper.name=t")
    assert second.returncode == 0, second.stderr
    assert written(harness.results) == before


def test_a_trial_is_the_run_that_it_stands_for_in_stretches_or_at_once(harness: Harness) -> None:
    """The witness is the full run of the trial's rate and seed, whose batches, start and schedule it must share."""
    overrides = (*TUNED[:1], *TUNED[4:], "seed=7", "method.lr=0.01", "method.dropout=0.1")
    for end in ("[3]", "[3,6]", "[3,6,10]"):
        assert harness(*overrides, f"trial={end}").returncode == 0
    (stretches,) = trials(harness.results).values()
    assert stretches.trial is not None
    assert [rung.step for rung in stretches.trial.rungs] == [3, 6, 10]
    assert stretches.resumed_from == 6
    assert stretches.seconds["train"] < stretches.seconds["total"]
    assert harness(*overrides, "train.validate_every=3").returncode == 0
    (whole,) = harness.records().values()
    assert stretches.quality["val_loss"] == pytest.approx(whole.quality["val_loss"], rel=1e-6)
    lines = (harness.results / "runs" / whole.id / "curve.jsonl").read_text().splitlines()
    validated = {line["step"]: line["val_loss"] for line in map(json.loads, lines) if "val_loss" in line}
    for rung in stretches.trial.rungs[:2]:
        assert rung.val_loss == pytest.approx(validated[rung.step], rel=1e-6)
    assert stretches.train_tokens == whole.train_tokens


def test_a_tuned_sweep_that_is_killed_anywhere_goes_on(harness: Harness) -> None:
    arguments = (*TUNED, "method=lora,ia3", "seed=0", "tune.default=false")
    chance = random.Random(0)
    for _ in range(3):
        process = harness.start(*arguments, own_group=True)
        wait_for(lambda: trials(harness.results), process)
        time.sleep(chance.uniform(0, 4))
        finished = {p: w for p, w in written(harness.results).items() if read_record(p).step == 10}
        with_group = os.getpgid(process.pid)
        os.killpg(with_group, signal.SIGKILL)
        process.communicate()
        kept = written(harness.results)
        assert all(kept[path] == identity for path, identity in finished.items())
    before = {p: w for p, w in written(harness.results).items() if read_record(p).step == 10}
    last = harness(*arguments)
    assert last.returncode == 0, last.stderr
    after = written(harness.results)
    assert all(after[path] == identity for path, identity in before.items()), "what was finished is not trained again"
    assert {record.status for record in harness.records().values()} == {"ok"}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["tune.setting=method.nonsense"], "tune.setting=method.nonsense: method=lora has no such setting"),
        (["tune.also={method.nonsense: [1, 2]}"], "method.nonsense: method=lora has no such setting"),
        (["tune.points=1"], "tune.points=1: input should be greater than or equal to 2"),
        (["method.lr=-1"], "method.lr"),
        (["tune.sampler=halving", "tune.points=2", "tune.factor=3"], "error: tune: halves 2 points by 3"),
        (["train.validation_examples=1"], "trials are compared by validation examples"),
        (["seed=0,1000"], "tune.seeds=[1000]: seed 1000 is the sweep's too"),
        (["method.lr=1e-3,2e-3"], "method.lr: is swept and tuned; leave one of the two out"),
        (["tune.rungs=[1.5]"], "tune.rungs.0=1.5: input should be less than 1"),
        (["tune.seeds=[]"], "error: tune: needs seeds, each once"),
        (["tune.also={method.alpha: []}"], "also.method.alpha has no values"),
        (["tune=nonsense"], "tune=nonsense: there is none"),
        (["trial=[5,3]"], "trial=[5, 3]: must be rising steps"),
        (["trial=[11]"], "must be rising steps, train.steps=10 at most"),
        (
            ["tune.setting=train.time_limit", "train.time_limit=9.0"],
            "tune.setting=train.time_limit: train.time_limit is no setting of the method",
        ),
        (["tune.also={seed: [1, 2]}"], "seed is no setting of the method, and nothing else is tuned"),
        (["tune.also={method.lr: [0.1]}"], "also.method.lr: is tune.setting"),
        (["tune.setting=method.rank"], "tune.setting=method.rank: is 8"),
        (["tune.setting=method.dropout", "method.dropout=0.9", "tune.points=2"], "method.dropout=1.6"),
        (["tune.by=blue"], "tune.by=blue: data=restaurants has no such score of validation; did you mean bleu?"),
        (["tune.sampler=bracket,grid"], "tune: lora r=8 is to be tuned in two ways; ask for one at a time"),
        (["tune.points=4", "tune=none,lr"], "lora r=8 is to be tuned and not to be; ask for one at a time"),
    ],
)
def test_what_cannot_be_tuned_is_one_line(harness: Harness, arguments: list[str], line: str) -> None:
    result = harness(*TUNED, *arguments)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    (told,) = (each for each in result.stderr.splitlines() if each.startswith("error: "))
    assert line in told
    assert not list(harness.results.glob("runs/*/record.json"))


def test_a_choice_that_is_the_rows_own_in_other_words_is_run_once(harness: Harness) -> None:
    arguments = ("method=lora", "method.lr=3.0", "tune=lr", "tune.points=2", "tune.extend=0", "tune.rungs=[]")
    also = "tune.also={method.alpha: [8]}"
    result = harness(*arguments, also, "train.steps=10", "train.warmup_steps=1", "seed=0", "hydra.sweeper.name=t")
    assert result.returncode == 0, result.stderr
    assert "tuned lora r=8: method.lr=3.0 method.alpha=8, at the edge of its grid (own 3)" in result.stderr
    (run,) = asked(harness.results)
    assert run["tuned"]["at_own"]  # type: ignore[index]
    assert "Verdicts that flip between own rates and chosen ones: 0 of 1." in report(
        harness.results, ["t"], "markdown", "tuned"
    )


def test_untuned_and_then_tuned_is_one_row_and_its_own_rate_beside(harness: Harness) -> None:
    name = "hydra.sweeper.name=t"
    assert harness("-m", "method=lora", "train.steps=10", "train.warmup_steps=1", "seed=0,1", name).returncode == 0
    (before,) = {record.learning_rate for record in harness.records().values()}
    assert harness(*TUNED, "seed=0,1", name).returncode == 0
    sweep = load_sweep(harness.results, "t")
    assert len(sweep.runs) == len(sweep.own) == 2
    assert {run.record.learning_rate for run in sweep.own if run.record} == {before}
    assert before not in {run.record.learning_rate for run in sweep.runs if run.record}
    more = harness(*TUNED, "tune.sampler=grid", "tune.extend=2", "seed=0,1", name)
    assert more.returncode == 0, more.stderr
    sweep = load_sweep(harness.results, "t")
    assert len({run.record.learning_rate for run in sweep.runs if run.record}) == 1, "two choices of one row"
    assert {run.tuned.sampler for run in sweep.runs if run.tuned} == {"grid"}


def test_a_method_that_cannot_go_on_trains_again_and_pays_for_it(harness: Harness) -> None:
    overrides = ("method=adalora", *TUNED[4:], "seed=7")
    tokens = []
    for end in ("[4]", "[4,8]"):
        assert harness(*overrides, f"trial={end}").returncode == 0
        (record,) = trials(harness.results).values()
        tokens.append(record.train_tokens or 0)
        assert record.resumed_from == 0
    again = Harness(harness.results.parent / "again")
    assert again(*overrides, "trial=[8]").returncode == 0
    (whole,) = trials(again.results).values()
    assert tokens[1] == tokens[0] + (whole.train_tokens or 0)


def test_a_row_whose_trials_all_diverge_says_so_and_keeps_its_own_rate(harness: Harness) -> None:
    result = harness(*TUNED, "method=full", "method.lr=1e30", "hydra.sweeper.name=t")
    assert result.returncode == 1, result.stderr
    assert "every trial failed; it keeps method.lr=1e+30" in result.stderr
    assert {record.status for record in trials(harness.results).values()} == {"diverged"}
    assert [record.status for record in harness.records().values()] == ["diverged"]
    assert "diverged" in report(harness.results, ["t"], "markdown", "methods")


def test_a_trial_that_is_not_done_is_told_and_tried_again(harness: Harness) -> None:
    arguments = (*TUNED[:1], "tune=lr", "tune.points=2", "tune.extend=0", "tune.rungs=[]", "train.steps=4")
    arguments += ("train.warmup_steps=1", "tune.also={method.rank: [4, 1024]}", "tune.default=false", "seed=0")
    name = "hydra.sweeper.name=t"
    first = harness(*arguments, "budget=80MiB", name)
    assert first.returncode == 0, first.stderr
    assert "3 trials; 1 not done, which the same command tries again" in first.stderr
    assert sorted(record.status for record in trials(harness.results).values()) == ["ok", "ok", "skipped"]
    note = "Trials that were not done, so that nothing is known of their values: lora r=4 (1 skipped)."
    assert note in report(harness.results, ["t"], "markdown", "tuned")
    second = harness(*arguments, "budget=4GiB", name)
    assert second.returncode == 0, second.stderr
    assert "not done" not in second.stderr
    assert {record.status for record in trials(harness.results).values()} == {"ok"}
    assert "not done" not in report(harness.results, ["t"], "markdown", "tuned")


def test_trials_of_other_modules_are_other_trials() -> None:
    ids = {settings(f"targets.modules=[{name}]", "method=lora", "trial=[4]").run_id() for name in ("q_proj", "v_proj")}
    assert len(ids) == 2
    assert len({settings("method=lora", f"trial={end}").run_id() for end in ("[4]", "[4,8]")}) == 1


def test_the_command_line_wins_over_what_a_sweeps_file_says_of_tuning(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "question: Which?\ntune: {points: 8, rungs: [0.2]}\ngrids: [[method=lora], [method=ia3, tune=none]]\n"
    )

    def tuning(*more: str) -> list[list[str]]:
        rows = points([f"+sweep={file}", *more], True)
        return [[word for word in row if word.startswith("tune")] for row in rows]

    own = ["tune=lr", "tune.points=8", "tune.rungs=[0.2]"]
    assert tuning() == [own, ["tune=none"]]
    assert tuning("tune=none") == [["tune=none"]] * 2
    assert tuning("tune=lr") == [own] * 2
    assert tuning("tune=lr", "tune.points=4") == [["tune=lr", "tune.points=4", "tune.rungs=[0.2]"]] * 2
    with pytest.raises(UserError, match=r"tune\.points: no row has such a setting"):
        tuning("tune=none", "tune.points=4")
