"""Inputs and references of a run's test examples, written for a page of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands.references import main
from harness.errors import UserError
from harness.metrics.bleu import corpus_bleu
from harness.results.record import Record
from reports.page.references import References, with_file
from tests.support.records import run_folder


def test_they_give_the_recorded_score(run_point: Callable[..., Record], tmp_path: Path) -> None:
    """The witness of data, order and choice of examples: BLEU of the predictions against them is the record's."""
    record = run_point("method=zero_shot")
    results, output = tmp_path / "results", tmp_path / "references.jsonl"
    places = ["--results", str(results), "--output", str(output)]
    main([record.id, *places])
    found = with_file(References(), output).of(record.key["data"]["sha256"], record.test_examples)
    lines = (run_folder(results, record.id) / "predictions.jsonl").read_text().splitlines()
    said = {line["index"]: line["prediction"] for line in map(json.loads, lines)}
    assert sorted(found) == sorted(said) == [0, 1, 2, 3]
    score = corpus_bleu([said[i] for i in range(4)], [list(found[i][1]) for i in range(4)])
    assert score == pytest.approx(record.quality["bleu"])
    with pytest.raises(UserError, match="absent: not a run with a config"):
        main(["absent", *places])


def test_a_text_may_hold_a_line_separator(tmp_path: Path) -> None:
    line = {"data": "x", "test_examples": 1, "index": 0, "input": "a\u2028b", "references": ["c\x85d"]}
    (tmp_path / "references.jsonl").write_text(json.dumps(line, ensure_ascii=False) + "\n", encoding="utf-8")
    assert with_file(References(), tmp_path / "references.jsonl").of("x", 1) == {0: ("a\u2028b", ("c\x85d",))}
