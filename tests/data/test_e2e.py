"""The E2E challenge's files, against the counts that its authors published."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.data import load
from harness.data.e2e import E2E, group
from harness.evaluation.scores import score
from tests.support.tiny import settings

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
needs_e2e = pytest.mark.skipif(not (SHARED / "e2e").is_dir(), reason=f"the E2E data is not at {SHARED / 'e2e'}")


def write(folder: Path, rows: dict[str, str]) -> E2E:
    for name, text in rows.items():
        (folder / name).write_text(text, encoding="utf-8")
    return E2E(name="e2e", prompt="{{ source }}", metrics=("bleu",), path=str(folder), hub_id=None, revision="main")


@needs_e2e
def test_counts_of_the_challenge() -> None:
    splits = E2E(
        name="e2e", prompt="", metrics=("bleu",), path=str(SHARED / "e2e"), hub_id=None, revision="main"
    ).load()
    assert (len(splits.test), sum(len(e.references) for e in splits.test)) == (630, 4693)
    assert (len(splits.validation), sum(len(e.references) for e in splits.validation)) == (547, 4672)
    assert (len(splits.train), sum(len(e.references) for e in splits.train)) == (4862, 42061)


def test_score_reads_plain_text(tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("a pub in town\nthe cat sat on the mat\n")
    (tmp_path / "references").write_text("a pub in town\none more\n\nthe cat sat on the mat\n")
    command = [
        sys.executable,
        "-m",
        "harness",
        "score",
        "--metrics=bleu",
        "--json",
        "--predictions",
        str(tmp_path / "predictions"),
    ]
    command += ["--references", str(tmp_path / "references")]
    found = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert found["scores"]["bleu"]["score"] == pytest.approx(1)
    (tmp_path / "predictions").write_text("only one\n")
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1)
    assert "1 predictions for 2" in answer.stderr


def test_statistics_of_examples_add_up_to_the_corpus(tmp_path: Path) -> None:
    """The witness is sacrebleu's corpus score."""
    from sacrebleu.metrics.bleu import BLEU

    data = settings("method=zero_shot").data
    examples = load(data)[0].test[:10]
    predictions = [e.references[0].replace("is", "was") for e in examples]
    made = score(examples, predictions, ("bleu", "rouge", "slots"))
    rows = [line["bleu"] for line in made.lines]
    length, reference, *counts = (sum(column) for column in zip(*rows, strict=True))
    total = BLEU.compute_bleu(counts[:4], counts[4:], length, reference, smooth_method="exp")
    assert total.score == pytest.approx(made.quality["bleu"])


def test_a_test_input_is_never_trained_on(tmp_path: Path) -> None:
    rows = "mr,ref\n{}[x],one\n"
    source = write(
        tmp_path,
        {
            "trainset.csv": "mr,ref\nname[x],one\nname[y],two\n",
            "devset.csv": rows.format("food"),
            "testset_w_refs.csv": "mr,ref\nname[x],three\n",
        },
    )
    assert [e.source for e in source.load().train] == ["name[y]"]


def test_group_keeps_the_order_of_first_appearance() -> None:
    found = group([("b", "1"), ("a", "2"), ("b", "3")])
    assert [(e.source, e.references) for e in found] == [("b", ("1", "3")), ("a", ("2",))]


def test_hash_follows_the_content(tmp_path: Path) -> None:
    files = dict.fromkeys(("trainset.csv", "devset.csv", "testset_w_refs.csv"), "mr,ref\nname[x],one\n")
    first = load(write(tmp_path, files))[1]
    load.cache_clear()
    assert load(write(tmp_path, files))[1] == first
    load.cache_clear()
    assert load(write(tmp_path, files | {"trainset.csv": "mr,ref\nname[z],one\n"}))[1] != first
