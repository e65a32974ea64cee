"""Tables over seeds, scores, learning rates and hardware, from hand-made records."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.errors import UserError
from reports.__main__ import main
from reports.commands.table import report
from reports.read.runs import load_sweep
from reports.statistics.intervals import seed_summary
from reports.statistics.verdicts import BASE, BEST, STILL, TIED, WORSE, compare
from tests.support.records import cells, run_folder, words
from tests.support.tables import everything, right, row

# Scores


def test_accuracy_is_ranked_with_intervals(tmp_path: Path) -> None:
    base = right(0.5, 1)
    row(tmp_path, "zero_shot", base)
    row(tmp_path, "good", np.maximum(base, right(0.8, 2)))
    row(tmp_path, "twin", np.maximum(base, right(0.8, 2)))
    row(tmp_path, "middling", np.maximum(base, right(0.3, 3)))
    row(tmp_path, "still", base)
    row(tmp_path, "worse", base * right(0.5, 4))
    everything(tmp_path)
    found = {name.split("-")[0]: word for name, word in words(tmp_path).items()}
    assert found == {"zero_shot": BASE, "good": BEST, "twin": TIED, "middling": "", "still": STILL, "worse": WORSE}
    text = report([tmp_path], ["s"], "markdown", "methods")
    assert "change of accuracy [95% interval]" in text
    assert "best: highest accuracy" in text
    assert "adjusted by Holm for the family of 2" in text
    assert "(80% power, two-sided 5%, with other examples, of these trained models)" in text


def test_less_is_better_where_the_score_is_an_error_rate(tmp_path: Path) -> None:
    base = right(0.5, 1)
    row(tmp_path, "zero_shot", base, score="ter")
    row(tmp_path, "fewer", base * right(0.2, 2), score="ter")
    row(tmp_path, "some", base * right(0.6, 3), score="ter")
    row(tmp_path, "more", np.maximum(base, right(0.5, 4)), score="ter")
    everything(tmp_path)
    for run in (tmp_path / "runs").iterdir():  # TER is made of sums: edits and words
        lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
        said = [json.dumps(line | {"ter": [line["ter"], 100.0]}) + "\n" for line in lines]
        (run / "predictions.jsonl").write_text("".join(said))
    assert {name.split("-")[0]: word for name, word in words(tmp_path).items()} == {
        "zero_shot": BASE, "fewer": BEST, "some": "", "more": WORSE,
    }  # fmt: skip
    assert "lowest TER" in report(tmp_path, ["s"], "markdown", "methods")


def test_score_names_what_rows_are_compared_by(tmp_path: Path) -> None:
    for name, share in (("zero_shot", 0.2), ("one", 0.9), ("two", 0.5)):
        row(tmp_path, name, right(share, 5), score="token_f1")
    everything(tmp_path)
    assert BEST in words(tmp_path).values()
    text = report(tmp_path, ["s"], "markdown", "methods", score="val_loss")
    assert "change of validation loss" in text
    assert "predictions.jsonl has no val_loss of each example" in text
    with pytest.raises(UserError, match="--score token_f2: no record of s has it; did you mean token_f1"):
        report(tmp_path, ["s"], "markdown", "methods", score="token_f2")


def test_a_score_that_only_some_rows_have_leaves_the_others_unranked(tmp_path: Path) -> None:
    row(tmp_path, "one", right(0.9, 5))
    row(tmp_path, "two", right(0.5, 6))
    row(tmp_path, "three", right(0.5, 7), score="token_f1")
    everything(tmp_path)
    text = report(tmp_path, ["s"], "markdown", "methods")
    assert "the record has no accuracy" in text
    assert cells(text, "one")["verdict"] == f"{BEST} at these rates"
    assert cells(text, "three")["verdict"] == ""


# Seeds


def test_rows_that_differ_only_in_the_seed_are_one_row(tmp_path: Path) -> None:
    row(tmp_path, "zero_shot", right(0.2, 1))
    values = [right(0.7, 10), right(0.7, 11), right(0.7, 12)]
    for seed, each in enumerate(values):
        row(tmp_path, "lora", each, seed)
    row(tmp_path, "ia3", right(0.4, 9))
    everything(tmp_path)
    text = report(tmp_path, ["s"], "markdown", "methods", allow=["settings.seed"])
    assert sum(line.startswith("| lora") for line in text.splitlines()) == 1
    means = [float(each.mean()) for each in values]
    cell, summary = cells(text, "lora"), seed_summary(means)
    assert cell["accuracy"] == f"{np.mean(means):.3f} ± {np.std(means, ddof=1):.3f}"
    assert summary.interval is not None
    told = f"[{summary.interval.low:.3f}, {summary.interval.high:.3f}]".replace("-", "\N{MINUS SIGN}")
    assert cell["accuracy over seeds [95% t interval]"] == told
    assert cell["seeds"] == "3"
    assert cells(text, "ia3")["seeds"].startswith("1 [")
    assert "one seed: how far training spreads is not known" in text
    assert "where a row has several (n = 1, 3), of seeds" in text
    assert cell["change of accuracy [95% interval]"].startswith(f"+{np.mean(means) - right(0.2, 1).mean():.3f} [")
    lines = report(tmp_path, ["s"], "csv", "auto").splitlines()
    assert len(lines) == 1 + 5  # a line a run


def test_seeds_that_spread_tie_rows_that_examples_alone_would_tell_apart(tmp_path: Path) -> None:
    """Rows of constant scores differ for certain on the examples; their seeds lie across each other."""
    for seed, (one, two) in enumerate([(0.60, 0.70), (0.72, 0.62), (0.69, 0.60)]):
        row(tmp_path, "one", np.full(50, one) + 1e-3 * right(0.5, seed, 50), seed)
        row(tmp_path, "two", np.full(50, two) + 1e-3 * right(0.5, seed, 50), seed)
    everything(tmp_path)
    assert sorted(set(words(tmp_path).values())) == [BEST, TIED]


def test_what_was_detectable_is_so_of_other_seeds_where_there_are_several(tmp_path: Path) -> None:
    for seed in (0, 1):
        row(tmp_path, "one", right(0.5, seed), seed)
        row(tmp_path, "two", right(0.6, seed + 2), seed)
        row(tmp_path, "three", right(0.4, seed + 4), seed)
    everything(tmp_path)
    assert "5%, with other examples and as many other seeds)" in report([tmp_path], ["s"], "markdown", "methods")


def test_one_seed_beside_others_is_not_ranked_unless_allowed(tmp_path: Path) -> None:
    row(tmp_path, "one", right(0.9, 5), seed=0)
    row(tmp_path, "two", right(0.5, 6), seed=1)
    everything(tmp_path)
    assert not any(words(tmp_path).values())
    assert "settings.seed (0: one; 1: two)" in report(tmp_path, ["s"], "markdown", "methods")
    allowed = compare(load_sweep(tmp_path, "s"), allow=["settings.seed"])
    assert BEST in {verdict.word for verdict in allowed.verdicts.values()}


# What differs


def test_allow_names_the_fields_that_are_ignored(tmp_path: Path) -> None:
    row(tmp_path, "one", right(0.9, 5))
    row(tmp_path, "two", right(0.5, 6), settings__train__steps=60, settings__eval__beams=4)
    everything(tmp_path)
    refused = report(tmp_path, ["s"], "markdown", "methods")
    assert "--allow settings.train.steps,settings.eval.beams" in refused
    half = report(tmp_path, ["s"], "markdown", "methods", allow=["settings.train.steps"])
    assert "Not ranked" in half
    whole = report(tmp_path, ["s"], "markdown", "methods", allow=["settings.train", "settings.eval.beams"])
    assert cells(whole, "one")["verdict"] == f"{BEST} at these rates"
    assert "Ignored, as --allow says, though rows differ in it: settings.train.steps (30: one; 60: two)" in whole


def test_a_field_that_does_not_exist_cannot_be_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row(tmp_path, "one", right(0.9, 5))
    everything(tmp_path)
    assert main(["s", "--results", str(tmp_path), "--allow", "settings.train.step,steps"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("error: --allow settings.train.step: no field of the records' keys; did you mean")
    assert "settings.train.steps" in told[1]


def test_rows_of_different_hardware_are_ranked_but_their_timings_marked(tmp_path: Path) -> None:
    row(tmp_path, "one", right(0.9, 5))
    row(tmp_path, "two", right(0.5, 6), environment__device="cuda: a GPU")
    everything(tmp_path)
    text = report(tmp_path, ["s"], "markdown", "methods")
    assert cells(text, "one")["verdict"] == f"{BEST} at these rates"
    assert cells(text, "one")["training [tokens/s]"] == "180 ‡"
    assert cells(text, "two")["wall time [s]"] == "61.5 ‡"
    assert "‡ not comparable between rows, made on different hardware: " in text
    assert "environment.device (cpu: a CPU: one; cuda: a GPU: two)." in text


# Learning rates


def test_one_learning_rate_a_row_is_a_warning(tmp_path: Path) -> None:
    row(tmp_path, "one", right(0.9, 5), lr=1e-3)
    row(tmp_path, "two", right(0.5, 6), lr=1e-3)
    everything(tmp_path)
    warning = "One learning rate ({}) was run of each row: differences are confounded with it"
    assert warning.format("all at 0.001") in report(tmp_path, ["s"], "markdown", "methods")
    with pytest.raises(UserError, match="no rows differ only in the learning rate"):
        report(tmp_path, ["s"], "markdown", "lr")
    row(tmp_path, "three", right(0.5, 6), lr=2e-3)
    everything(tmp_path)
    assert warning.format("chosen for each") in report(tmp_path, ["s"], "markdown", "methods")


def test_a_sweep_of_learning_rates_is_a_table_with_the_best_and_edges(tmp_path: Path) -> None:
    shares = {"peak": {1e-4: 0.3, 1e-3: 0.8, 1e-2: 0.4}, "rising": {1e-4: 0.2, 1e-3: 0.5, 1e-2: 0.9}}
    shares["flat"] = dict.fromkeys([1e-4, 1e-3], 1.0)
    for name, by_rate in shares.items():
        for rate, share in by_rate.items():
            for seed in (0, 1):
                row(tmp_path, name, right(share, 100 * seed + round(1000 * share)), seed, lr=rate)
    everything(tmp_path)
    text = report(tmp_path, ["s"], "markdown", "lr")
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:] == [
        *("peak", "rising", "flat")
    ]
    assert cells(text, "flat")["best lr"] == "0.0001 and 0.001", "none is best of equal ones"
    assert cells(text, "peak")["best lr"] == "0.001"
    assert cells(text, "rising")["best lr"] == "0.01, at the edge of its grid"
    assert cells(text, "peak")["lr 0.001"].endswith(" *")
    assert "±" in cells(text, "peak")["lr 0.001"]
    both = report(tmp_path, ["s"], "markdown", "auto")
    assert "## s: learning rates" in both
    assert "confounded" not in both
    frame = pd.read_csv(io.StringIO(report(tmp_path, ["s"], "csv", "lr")))
    assert list(frame[frame["best"]]["learning_rate"]) == [1e-3, 1e-2, 1e-4, 1e-3]
    assert list(frame[frame["edge"]]["row"]) == ["rising"]


def test_ranks_over_seeds_are_a_row_each_and_marked_where_they_are_not_low(tmp_path: Path) -> None:
    for rank in (1, 4, 256):
        for seed in (0, 1):
            row(tmp_path, "lora", right(0.5 + rank / 1000, rank + seed), seed, rank=rank)
    path = run_folder(tmp_path, "lora-0-lora-256") / "record.json"
    warning = "method.rank=256 is above the smaller side of k (192): a change of such a layer has no higher rank"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"warnings": [warning]}))
    everything(tmp_path)
    text = report(tmp_path, ["s"], "markdown", "rank")
    ranks = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:]
    assert ranks == ["1", "4", "256 [1]"]
    assert f"- [1] not low-rank: {warning}" in text
