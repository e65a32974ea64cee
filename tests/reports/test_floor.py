"""What a score must beat before a row is the best of anything, and why a better score may not be the best."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.results.record import Record
from reports.__main__ import main
from reports.commands.table import report
from reports.figures._data import data_of
from reports.read.runs import load_sweep
from reports.statistics.scores import floor
from reports.statistics.verdicts import BASE, BEST, STILL, TIED, compare
from tests.support.records import (
    REFERENCES,
    add,
    add_base,
    corpus_bleu,
    key,
    spoiled,
    statistics,
    sweep,
    words,
    write_predictions,
)


def texts(results: Path) -> dict[str, str]:
    """What the table says of each row."""
    lines = [
        line.split("|")[1:-1] for line in report(results, ["s"], "markdown", "methods").splitlines() if "|" in line
    ]
    place = [cell.strip() for cell in lines[0]].index("verdict")
    return {line[0].strip(): line[place].strip() for line in lines[2:]}


def test_a_row_below_a_constant_answer_is_not_the_best(tmp_path: Path) -> None:
    """BLEU of some 2 surely above the base's, and a constant answer with 26.24."""
    weak = {"baselines": {"best_constant": 26.24, "join_slots": 1.0}}
    add_base(tmp_path, spoiled(0.97, seed=2))
    add(tmp_path, "a", spoiled(0.6, seed=3), **weak)
    add(tmp_path, "b", spoiled(0.7, seed=4), **weak)
    sweep(tmp_path, "zero_shot", "a", "b")
    assert corpus_bleu(spoiled(0.6, seed=3)) < 26.24
    assert words(tmp_path) == {"zero_shot": BASE, "a": "", "b": ""}
    said = texts(tmp_path)
    assert said == {
        "zero_shot": "the base, below the joined slots",  # whose record has them at 23.4, and a constant at 12
        "a": "below a constant answer",
        "b": "below a constant answer",
    }
    text = report(tmp_path, ["s"], "markdown", "methods")
    assert "below a constant answer: BLEU is not above what needs no model (best_constant 26.24)" in text
    assert "best:" not in text
    told = {row["label"]: row["verdict"] for row in json.loads(report(tmp_path, ["s"], "json", "methods"))}
    assert told["a"] == "below a constant answer"
    assert "Not above a constant answer (26.24)" in data_of(load_sweep(tmp_path, "s")).caption()
    output = tmp_path / "page.html"
    assert main(["page", "--results", str(tmp_path), "--output", str(output)]) == 0
    assert '"floor":{"bleu":["a constant answer",26.24]' in output.read_text().replace(" ", "").replace(
        "aconstantanswer", "a constant answer"
    )


def test_the_best_is_of_the_rows_that_beat_it(tmp_path: Path) -> None:
    add_base(tmp_path)
    weak = spoiled(0.35, seed=3)
    known = {"baselines": {"best_constant": 1.0, "join_slots": corpus_bleu(weak)}}
    add(tmp_path, "good", spoiled(0.1, seed=6), **known)
    add(tmp_path, "weak", weak, **known)  # as good is not better
    sweep(tmp_path, "zero_shot", "good", "weak")
    assert texts(tmp_path)["good"] == f"{BEST} at these rates"
    assert texts(tmp_path)["weak"] == "below the joined slots"
    text = report(tmp_path, ["s"], "markdown", "methods")
    assert "best: highest BLEU of the rows that moved and beat what needs no model" in text


def record(**fields: object) -> Record:
    given = {"id": "a", "key": {}, "status": "ok", "started": "", "method": "a", "label": "a"}
    return Record.model_validate(given | fields)


@pytest.mark.parametrize(
    ("score", "found"),
    [
        ("bleu", "join_slots"),
        ("restaurants/bleu", "restaurants/best_constant"),
        ("accuracy", "most_frequent_class"),
        ("accuracy_normalised", "most_frequent_class"),
        ("sst2/accuracy", None),
        ("rougeL", None),
    ],
)
def test_a_score_is_held_to_the_answers_of_its_own_kind_and_task(score: str, found: str | None) -> None:
    baselines = {"best_constant": 3.0, "join_slots": 4.0, "most_frequent_class": 0.6, "restaurants/best_constant": 5.0}
    least = floor([record(baselines=baselines)], score)
    assert (least and baselines[found or ""]) == (least and least.value)
    assert bool(least) == bool(found)


def test_accuracy_of_the_most_frequent_class(tmp_path: Path) -> None:
    """Right answers of 40: the base 4, `common` 20 where the most frequent class makes 24, `better` 36."""
    for run, right in (("zero_shot", 4), ("common", 20), ("better", 36)):
        quality, base = {"accuracy": right / 40}, {"most_frequent_class": 24 / 40}
        add(tmp_path, run, None, quality=quality, baselines=base)
        lines = [{"index": i, "prediction": "", "accuracy": float(i < right)} for i in range(40)]
        path = tmp_path / "runs" / run / "predictions.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    sweep(tmp_path, "zero_shot", "common", "better")
    assert texts(tmp_path) == {
        "zero_shot": "the base, below a constant answer",
        "common": "below a constant answer",
        "better": f"{BEST} at these rates",
    }


def test_a_better_score_that_is_not_sure_to_have_moved_explains_itself(tmp_path: Path) -> None:
    """Two seeds of r=16 far apart have a higher mean than those of r=1, but an interval that contains 0."""
    add_base(tmp_path, spoiled(0.5, seed=2))
    shares = {("r1", 0): 0.2, ("r1", 1): 0.2, ("r16", 0): 0.0, ("r16", 1): 0.28}
    for (name, seed), share in shares.items():
        method = {"name": "lora", "rank": int(name[1:])}
        run = f"{name}-{seed}"
        add(tmp_path, run, spoiled(share, seed=3), method, key=key(method, settings__seed=seed), label=name)
    sweep(tmp_path, "zero_shot", *(f"{name}-{seed}" for name, seed in shares))
    compared = compare(load_sweep(tmp_path, "s"))
    scores = {
        name: np.mean([corpus_bleu(spoiled(share, seed=3)) for (each, _), share in shares.items() if each == name])
        for name in ("r1", "r16")
    }
    assert scores["r16"] > scores["r1"]
    assert compared.verdicts["r1-0"].word == BEST
    assert compared.verdicts["r16-0"].word == STILL
    said = texts(tmp_path)
    assert said["r1-0"] == "best at these rates, of the rows that moved"
    assert said["r16-0"] == "did not move, its interval contains 0"
    assert "r16-0: a better BLEU than the best, but" in report(tmp_path, ["s"], "markdown", "methods")


def test_where_nothing_is_puzzling_nothing_is_added(tmp_path: Path) -> None:
    add_base(tmp_path)
    good = spoiled(0.1, seed=6)
    for run in ("good", "twin"):
        add(tmp_path, run, good)
    add(tmp_path, "still", [*spoiled(0.5, seed=2)[:-1], REFERENCES[-1]], baselines={})
    write_predictions(tmp_path, "still", statistics([*spoiled(0.5, seed=2)[:-1], REFERENCES[-1]]))
    sweep(tmp_path, "zero_shot", "good", "twin", "still")
    said = texts(tmp_path)
    assert (said["good"], said["twin"]) == (f"{BEST} at these rates", f"{TIED} at these rates")
    assert said["still"] == STILL


def test_best_is_of_the_rows_whose_examples_are_known(tmp_path: Path) -> None:
    """A row of a higher score has no predictions, so that nobody knows how sure it is."""
    add_base(tmp_path)
    add(tmp_path, "mid", spoiled(0.35, seed=3))
    add(tmp_path, "low", spoiled(0.45, seed=4))
    add(tmp_path, "top", None, quality={"bleu": 99.0, "val_loss": 1.0})
    sweep(tmp_path, "zero_shot", "mid", "low", "top")
    found = compare(load_sweep(tmp_path, "s")).verdicts["mid"]
    assert found.text.startswith("best at these rates, of the rows whose examples are known")


def test_the_best_of_rates_that_all_learned_nothing_is_called_so(tmp_path: Path) -> None:
    add_base(tmp_path)
    for rate in (1e-4, 1e-3):
        run, method = f"lora{rate}", {"name": "lora", "lr": rate}
        add(
            tmp_path,
            run,
            spoiled(0.9, seed=3),
            method,
            label="lora",
            learning_rate=rate,
            baselines={"join_slots": 99.0},
        )
    sweep(tmp_path, "zero_shot", "lora0.0001", "lora0.001")
    assert "no rate is above what needs no model" in report(tmp_path, ["s"], "markdown", "lr")


def test_a_baseline_of_any_seed_and_one_that_is_no_number(tmp_path: Path) -> None:
    """What needs no model counts for a row if one of its seeds has it; of two, the one that is a number stays."""
    for seed, baselines in enumerate(({}, {"best_constant": 99.0, "join_slots": float("nan")})):
        add(
            tmp_path,
            f"lora{seed}",
            spoiled(0.3, seed=seed),
            key=key({"name": "lora"}, settings__seed=seed),
            baselines=baselines,
        )
    sweep(tmp_path, "lora0", "lora1")
    assert {verdict.below for verdict in compare(load_sweep(tmp_path, "s")).verdicts.values()} == {"a constant answer"}
