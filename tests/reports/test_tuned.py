"""The table of tuned rows beside themselves at their own rates, where runs are missing or the row was tuned twice."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from harness.results.sweep_files import write_sweep
from reports.commands.table import report
from tests.support.records import add, add_base, corpus_bleu, key, spoiled

HOW: dict[str, Any] = {"setting": "method.lr", "own": 0.002, "value": 0.01, "others": [], "trials": ["a", "b"]}
HOW |= {"edge": False, "default": False, "at_own": False, "sampler": "bracket", "searched": ""}


def done(results: Path, method: str, lr: float, seed: int, share: float, **how: Any) -> dict[str, Any]:
    """A listing of a run of a tuned row, whose record it writes: `share` of its words are wrong."""
    name = f"{method}-{lr:g}-{seed}"
    made = key({"name": method, "lr": lr}, settings__seed=seed)
    texts = spoiled(share, seed=seed + len(method))
    add(results, name, texts, {"name": method}, label=method, key=made, learning_rate=lr)
    told = HOW | {"row": f"method={method}", "default": lr == HOW["own"]} | how
    return {"id": name, "label": method, "overrides": f"method={method} seed={seed}", "tuned": told}


def table(results: Path, *runs: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The raw numbers of `--table tuned` by row."""
    add_base(results)
    base = {"id": "zero_shot", "label": "zero shot", "overrides": "method=zero_shot"}
    write_sweep(results, "s", "?", [base, *runs])
    return {line["row"]: line for line in json.loads(report(results, ["s"], "json", "tuned"))}


def test_what_tuning_gained_is_of_the_seeds_that_its_interval_is_of(tmp_path: Path) -> None:
    shares = {0: 0.3, 1: 0.3, 2: 0.05}
    chosen = [done(tmp_path, "lora", 0.01, seed, share) for seed, share in shares.items()]
    own = [done(tmp_path, "lora", 0.002, seed, 0.3) for seed in (0, 1)]
    line = table(tmp_path, *chosen, *own)["lora"]
    texts = [corpus_bleu(spoiled(share, seed=seed + 4)) for seed, share in shares.items()]
    assert line["score"] == pytest.approx(fmean(texts))
    assert line["gain"] == pytest.approx(0, abs=1e-9), "the same answers under the two seeds that both have"
    assert line["gain_low"] == pytest.approx(0, abs=1e-9)


def test_a_verdict_does_not_flip_where_no_other_row_is_done_at_its_own_rate(tmp_path: Path) -> None:
    rows = [done(tmp_path, method, 0.01, seed, 0.2) for method in ("lora", "ia3") for seed in range(4)]
    lines = table(tmp_path, *rows, *(done(tmp_path, "lora", 0.002, seed, 0.25) for seed in range(4)))
    assert {line["verdict"] for line in lines.values()} == {"best", "tied with best"}
    assert lines["lora"]["own_verdict"] == ""
    assert not any(line["flips"] for line in lines.values())
    assert ": 0 of 1." in report(tmp_path, ["s"], "markdown", "tuned")


def test_a_row_that_was_tuned_in_other_words_is_one_row_of_one_choice(tmp_path: Path) -> None:
    first = [done(tmp_path, "lora", 0.01, seed, 0.2, row="method=lora data.size=9") for seed in (0, 1)]
    words = "tracker=none data.size=9 method.lr=0.004 method=lora train.checkpoint_every=5"
    again = [done(tmp_path, "lora", 0.02, seed, 0.1, row=words, value=0.02, trials=["c"]) for seed in (0, 1)]
    own = [done(tmp_path, "lora", 0.002, seed, 0.3, row="method=lora data.size=9") for seed in (0, 1)]
    line = table(tmp_path, *first, *again, *own)["lora"]
    assert (line["chosen"], line["trials"], line["seeds"]) == (0.01, 2, 2), "the choice of more trials"
    assert line["own_score"] is not None
    assert "| lora" in (text := report(tmp_path, ["s"], "markdown", "tuned"))
    assert text.count("| lora") == 1
