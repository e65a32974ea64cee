"""Agreement of predictions across seeds, on records and texts written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sacrebleu

from harness.errors import UserError
from reports.commands.table import report
from reports.tables.seeds import agreement, pairwise_bleu
from tests.support.records import EMPTY, add, cells, key, run_folder, sweep

SAID = [
    ["a pub by the river", "cheap Thai food here", "a big old place in town", "so it is"],
    ["a pub by the river", "cheap Thai food here", "a small old place in town", "so it was"],
    ["a pub by the river", "good Thai food here", "a big old place in town", "so it will be"],
]


def seeded(results: Path, seed: int, quality: dict[str, float | None], said: list[str], **changed: object) -> None:
    method = {"name": "lora", "rank": 8}
    run = f"lora-{seed}-{len(changed)}"
    add(results, run, None, method, key=key(method, settings__seed=seed, **changed), quality=quality, label="lora r=8")
    folder = run_folder(results, run)
    lines = [json.dumps({"index": i, "prediction": text}) + "\n" for i, text in enumerate(said)]
    (folder / "predictions.jsonl").write_text("".join(reversed(lines)))


def test_agreement_by_hand() -> None:
    """Seeds 1 and 2 say the same of two texts in four, 1 and 3 of two, 2 and 3 of one."""
    assert agreement(SAID) == pytest.approx((2 / 4 + 2 / 4 + 1 / 4) / 3)
    assert agreement([["x"], ["x"]]) == 1


def test_bleu_between_seeds_is_sacrebleus() -> None:
    own = [
        sacrebleu.corpus_bleu(one, [other], lowercase=True).score
        for i, one in enumerate(SAID)
        for j, other in enumerate(SAID)
        if i != j
    ]
    assert pairwise_bleu(SAID) == pytest.approx(sum(own) / 6)
    assert pairwise_bleu([SAID[0], SAID[0]]) == pytest.approx(100)


def test_table(tmp_path: Path) -> None:
    for seed, (bleu, said) in enumerate(zip([30.0, 32.0, 37.0], SAID, strict=True)):
        seeded(tmp_path, seed, {"val_loss": 1.0, "bleu": bleu}, said)
    seeded(tmp_path, 0, {"bleu": 1.0}, SAID[0], settings__train__steps=60)  # another setting: no part of the group
    add(tmp_path, "zero_shot", None, parameters=EMPTY)
    sweep(tmp_path, "zero_shot", "lora-0-0", "lora-1-0", "lora-2-0", "lora-0-1")
    text = report(tmp_path, ["s"], "markdown", "seeds")
    row = cells(text, "lora-0-0")
    assert sum(line.startswith("| lora") for line in text.splitlines()) == 1
    assert (row["seeds"], row["score"]) == ("0, 1, 2", "BLEU")
    # The mean of 30, 32, 37 is 33; the squares of 3, 1, 4 add up to 26, over 2 is 13.
    assert (row["mean"], row["standard deviation"]) == ("33.00", "3.61")
    assert row["same prediction, two seeds"] == "0.417"
    assert row["same prediction, all seeds"] == "0.250"
    assert row["BLEU between seeds"] == f"{pairwise_bleu(SAID):.2f}"


def test_classes_have_no_bleu(tmp_path: Path) -> None:
    for seed, said in enumerate([["a", "b"], ["a", "a"]]):
        seeded(tmp_path, seed, {"val_loss": 1.0, "accuracy": 0.5 + seed / 4}, said)
    sweep(tmp_path, "lora-0-0", "lora-1-0")
    row = cells(report(tmp_path, ["s"], "markdown", "seeds"), "lora-0-0")
    assert (row["score"], row["mean"], row["same prediction, two seeds"]) == ("accuracy", "0.625", "0.500")
    assert "BLEU between seeds" not in row


def test_predictions_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    for seed in (0, 1):
        seeded(tmp_path, seed, {"bleu": 30.0 + seed}, SAID[seed])
    (run_folder(tmp_path, "lora-1-0") / "predictions.jsonl").unlink()
    sweep(tmp_path, "lora-0-0", "lora-1-0")
    text = report(tmp_path, ["s"], "markdown", "seeds")
    assert "lora-0-0: agreement not known: there is no predictions.jsonl" in text
    assert cells(text, "lora-0-0")["mean"] == "30.50"


def test_one_seed_is_no_group(tmp_path: Path) -> None:
    seeded(tmp_path, 0, {"bleu": 30.0}, SAID[0])
    sweep(tmp_path, "lora-0-0")
    with pytest.raises(UserError, match="seed=0,1,2"):
        report(tmp_path, ["s"], "markdown", "seeds")
