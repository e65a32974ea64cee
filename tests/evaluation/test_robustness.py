"""Typing errors: what they change, what they leave, and that only inputs have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import data
from harness.config.compose import compose_settings
from harness.errors import UserError
from harness.evaluation.typos import BESIDE, mistyped, typos
from harness.metrics.bleu import of_sums as bleu_of_sums
from harness.results.lines import read_lines
from harness.results.record import Record
from harness.results.sections import Paraphrase, Typos
from reports.commands.table import report
from tests.support.records import add, add_base, cells, run_folder, sweep
from tests.support.tiny import settings

PARAPHRASES = "['Restaurant: {{ source }}\nDescription:','Say it in a sentence: {{ source }}']"
TEXT = "name[The Golden Curry], food[Japanese], customer rating[5 out of 5], area[city centre]"


def test_nothing_and_the_same_again() -> None:
    assert typos(TEXT, 0.0, seed=0) == TEXT
    assert typos(TEXT, 0.2, seed=0) == typos(TEXT, 0.2, seed=0) != typos(TEXT, 0.2, seed=1)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_only_letters_are_hit(share: float) -> None:
    for seed in range(20):
        made = typos(TEXT, share, seed)
        assert [c for c in made if not c.isalpha()] == [c for c in TEXT if not c.isalpha()]


def test_share_of_words_that_stay() -> None:
    """A word of eight unlike letters stays with probability (1 - share)^8: 0.430 for a tenth."""
    words = typos(" ".join(["abcdefgh"] * 4000), 0.1, seed=0).split(" ")
    assert sum(word == "abcdefgh" for word in words) / len(words) == pytest.approx(0.9**8, abs=0.03)


def test_one_letter() -> None:
    """Left out, doubled, or one beside it; each of the three as often, its case kept."""
    made = [typos("G", 1.0, seed) for seed in range(900)]
    assert set(made) == {"", "GG", "F", "H"}
    assert made.count("") == pytest.approx(300, abs=60)
    assert made.count("GG") == pytest.approx(300, abs=60)
    assert BESIDE["g"] == ["f", "h"]


def test_two_letters_are_swapped() -> None:
    assert "ba" in {typos("ab", 0.5, seed) for seed in range(100)}


@pytest.mark.parametrize("chosen", ["restaurants", "cuisine"])
def test_only_test_inputs_are_mistyped(chosen: str) -> None:
    source = settings(f"data={chosen}").data
    clean, noisy = data.load(source)[0], data.load(mistyped(source, 0.1, seed=0))[0]
    assert noisy.train == clean.train
    assert noisy.validation == clean.validation
    assert [e.references for e in noisy.test] == [e.references for e in clean.test]
    assert [e.source for e in noisy.test] == [typos(e.source, 0.1, 0) for e in clean.test]
    example = clean.test[0]
    assert mistyped(source, 0.1, seed=0).render(example) == source.render(example)


def test_a_run_with_typos_beside_one_without(run_point: Callable[..., Record], tmp_path: Path) -> None:
    off = run_point("method=lora")
    assert off.typos is None
    assert "eval.typos" in off.null_reasons["typos"]
    assert "eval.paraphrases" in off.null_reasons["paraphrases"]
    given = ["eval.typos=0.3", "eval.test_examples=8", f"eval.paraphrases={PARAPHRASES}"]
    base, tuned = run_point(*given, "method=zero_shot"), run_point(*given, "method=lora")
    assert base.typos is not None
    assert tuned.typos is not None
    assert base.typos.quality == base.typos.base_quality == tuned.typos.base_quality
    assert tuned.typos.share == 0.3
    assert base.paraphrases is not None
    assert tuned.paraphrases is not None
    # The first template is the task's own: nothing changes. The other is another text.
    assert tuned.paraphrases[0].quality | {"val_loss": tuned.quality["val_loss"]} == tuned.quality
    assert tuned.paraphrases[0].agreement == 1 > tuned.paraphrases[1].agreement
    assert tuned.paraphrases[1].base_quality == base.paraphrases[1].quality
    for record in (base, tuned):
        folder = run_folder(tmp_path / "results", record.id)
        clean, noisy = read_lines(folder / "predictions.jsonl"), read_lines(folder / "typos.jsonl")
        assert len(clean) == len(noisy) == 8
        # The same references, other predictions; scores and agreement are those of the lines.
        assert [line["bleu"][1] > 0 for line in noisy] == [True] * 8
        assert record.typos is not None
        assert record.typos.quality["bleu"] == pytest.approx(bleu_of_sums(np.sum([x["bleu"] for x in noisy], axis=0)))
        kept = sum(a["prediction"] == b["prediction"] for a, b in zip(clean, noisy, strict=True)) / 8
        assert record.typos.agreement == kept < 1
        assert len(read_lines(folder / "paraphrase_2.jsonl")) == 8


@pytest.mark.parametrize(
    ("template", "says"),
    [("{{ source", "unexpected end"), ("{{ sauce }}", "'sauce' is undefined"), ("Describe:", "leaves out the input")],
)
def test_templates_that_cannot_be_used(template: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as raised:
        settings(f"eval.paraphrases=['{template}']")
    (line,) = raised.value.problems
    assert "{{ source }}" in line


def test_columns_are_there_where_typos_are_on(tmp_path: Path) -> None:
    scores = {"quality": {"bleu": 30.0}, "base_quality": {"bleu": 5.0}}
    add_base(tmp_path)
    said = [Paraphrase(prompt="", agreement=0.5, **scores), Paraphrase(prompt="", agreement=1, **scores)]
    said[1].quality["bleu"] = 38.0
    typed = Typos(share=0.1, seed=0, agreement=0.75, **scores)
    add(tmp_path, "lora", None, quality={"bleu": 40.0}, typos=typed, paraphrases=said)
    add(tmp_path, "plain", None, quality={"bleu": 40.0})
    sweep(tmp_path, "zero_shot", "lora")
    row = cells(report(tmp_path, ["s"], "markdown", "methods"), "lora")
    assert (row["score under typos"], row["same prediction under typos"]) == ("30.00", "0.750")
    assert (row["score in other templates: mean"], row["lowest"]) == ("34.00", "30.00")
    assert row["same prediction in other templates"] == "0.750"
    for asking in (tmp_path / "sweeps").iterdir():  # what was asked under a name stays in its table
        asking.unlink()
    sweep(tmp_path, "zero_shot", "plain")
    text = report(tmp_path, ["s"], "markdown", "methods")
    assert "typos" not in text
    assert "templates" not in text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["data=wikitext", "data.path=.", "eval.typos=0.1"], "has no inputs to read otherwise"),
        (
            ["data=mix", "+data@data.tasks.one=restaurants", "eval.paraphrases=['{{ source }}']"],
            "use a run of one task",
        ),
    ],
)
def test_data_that_cannot_be_read_otherwise_are_refused(given: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        compose_settings(given)
