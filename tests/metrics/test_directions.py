"""Which values of a score are better: the score says it, the record carries it, whatever ranks goes by it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from harness import metrics
from harness.data import Example
from harness.evaluation.lm_eval import directions
from harness.evaluation.scores import Prediction, score, score_texts
from harness.metrics import Score
from harness.results.lm_eval import LmEvalTask
from harness.results.record import Record
from harness.results.sections import Better
from reports.commands.table import report
from reports.gate.compare import compare as gate
from reports.gate.entries import Baseline
from reports.gate.measure import of_folder
from reports.page.measures import measures
from reports.read.runs import load_sweep
from reports.statistics.scores import better, better_at, main_score
from reports.statistics.verdicts import BASE, BEST, TIED, WORSE, compare
from reports.values.frame import quality_columns
from tests.support.code import PROBLEMS, reference
from tests.support.records import REFERENCES, add, key, run_folder, spoiled, sweep

TEXTS = [
    "the cat sat on the mat today",
    "a small dog ran to the park",
    "we eat warm bread at noon",
    "rain fell all night",
]
MRS = ["name[Aromi], food[Thai]", "name[Zizzi], food[French]", "name[Strada], area[riverside]", "name[Fitzbillies]"]
FACTS = ["Aromi serves Thai food", "Zizzi serves French food", "Strada is in the riverside area", "Fitzbillies is open"]
SPECIAL: dict[str, tuple[list[str], list[str], list[str]]] = {
    # Right answers, wrong ones, references.
    "pass_at_1": (
        [problem["canonical_solution"] for problem in PROBLEMS],
        ["pass"] * len(PROBLEMS),
        [reference(problem) for problem in PROBLEMS],
    ),
    "slots": (FACTS, ["nothing at all"] * 4, FACTS),
    "numeric": (["4", "5", "6", "7"], ["1", "1", "1", "1"], ["4", "5", "6", "7"]),
    "answer_words": (["answer1", "answer2"], ["answer3"] * 2, ["answer1", "answer2"]),
    "boxed": (["\\boxed{1}", "\\boxed{2}"], ["\\boxed{3}"] * 2, ["\\boxed{1}", "\\boxed{2}"]),
    "correlation": (["1", "2", "3", "4"], ["4", "3", "2", "1"], ["1", "2", "3", "4"]),
    "classes": (["yes", "no", "yes", "no"], ["no", "yes", "no", "yes"], ["yes", "no", "yes", "no"]),
    "calibration": (
        [json.dumps({"yes": 0.9, "no": 0.1})] * 4,
        [json.dumps({"yes": 0.1, "no": 0.9})] * 4,
        ["yes"] * 4,
    ),
}


@pytest.mark.parametrize("family", metrics.families())
def test_a_perfect_answer_is_on_the_side_that_the_score_calls_better(family: str) -> None:
    """Every score of every family there is, so that a new one cannot be forgotten."""
    right, wrong, references = SPECIAL.get(family, (TEXTS, ["zebra x y z"] * 4, TEXTS))
    groups = [[text] for text in references]
    good, bad = (metrics.compute([family], said, groups, MRS, run_code=True) for said in (right, wrong))
    known = {name for name in good if good[name].value is not None}
    if not known and shutil.which("java") is None:
        pytest.skip("needs Java")
    assert known
    for name in known:
        above, below = good[name].value, bad[name].value
        assert above is not None
        assert below is not None
        assert good[name].better == bad[name].better
        if good[name].better != "neither":
            assert (above < below) == (good[name].better == "lower"), name


def edits(predictions: list[str], references: list[tuple[str, ...]], sources: object) -> dict[str, Score]:
    """A metric of one's own: wrong words in percent."""
    each = tuple(
        100 * sum(a != b for a, b in zip(said.split(), told[0].split(), strict=True)) / len(told[0].split())
        for said, told in zip(predictions, references, strict=True)
    )
    return {"edits": Score(sum(each) / len(each), "edits|words", each, better="lower")}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A family of scores that no report has heard of."""
    family = ModuleType("harness.metrics.edits")
    family.compute = edits  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "harness.metrics.edits", family)
    known = metrics.families()
    monkeypatch.setattr(metrics, "families", lambda: [*known, "edits"])


def write(results: Path, run: str, texts: list[str], examples: list[Example]) -> None:
    """A record as a run makes it, of the scores of these texts."""
    scores = score(examples, texts, ["edits"])
    method = {"name": run}
    settings = {"key": key(method), "quality": {**scores.quality, "val_loss": 1.0}, "baselines": {}}
    add(results, run, None, method, **settings, better=scores.better | {"val_loss": "lower"})
    lines = [json.dumps(line) + "\n" for line in scores.lines]
    (run_folder(results, run) / "predictions.jsonl").write_text("".join(lines))


@pytest.fixture
def results(own: None, tmp_path: Path) -> Path:
    """A sweep whose rows have the metric of one's own: `good` makes the fewest errors, `awful` the most."""
    examples = [Example(f"in {i}", (text,)) for i, text in enumerate(REFERENCES)]
    for run, share, seed in (("zero_shot", 0.5, 2), ("good", 0.1, 6), ("fair", 0.3, 7), ("awful", 0.9, 8)):
        write(tmp_path, run, spoiled(share, seed), examples)
    sweep(tmp_path, "zero_shot", "good", "fair", "awful")
    return tmp_path


def test_a_metric_of_ones_own_is_ranked_as_it_says(results: Path) -> None:
    found = compare(load_sweep(results, "s"))
    assert (found.score, found.better) == ("edits", "lower")
    words = {run: verdict.word for run, verdict in found.verdicts.items()}
    assert words == {"zero_shot": BASE, "good": BEST, "fair": "", "awful": WORSE}
    text = report(results, ["s"], "markdown", "auto")
    assert "best: lowest edits of the rows that moved" in text
    assert "below the base: the whole interval of the change is worse" in text


def test_the_page_and_the_gate_go_by_it_too(results: Path) -> None:
    loaded = load_sweep(results, "s")
    shown = {m.column.key: m.better for m in measures(quality_columns(loaded), loaded.recorded)}
    assert shown["edits"] == shown["val_loss_nats_per_token"] == "lower"
    # What is read with typing errors is scored by the main score.
    assert shown["typos_score"] == shown["paraphrases_mean_score"] == "lower"
    before = of_folder(results, "s")
    entry = before.runs["fair"]
    assert (entry.main, entry.direction("edits")) == ("edits", "lower")

    def with_errors(times: float) -> Baseline:
        rows = [f"{times * float(each):.6g}" for each in entry.examples["edits"].split(";")]
        changed = {"examples": {"edits": ";".join(rows)}, "quality": {"edits": times * (entry.quality["edits"] or 0)}}
        return before.model_copy(update={"runs": before.runs | {"fair": entry.model_copy(update=changed)}})

    def verdicts(times: float) -> set[str]:
        rows = gate(before, with_errors(times), kinds=("quality",)).rows
        return {row.verdict for row in rows if (row.run, row.measure) == ("fair", "edits")}

    assert verdicts(2.0) == {"regression"}
    assert verdicts(0.25) == {"improvement"}


@pytest.mark.parametrize(("said", "word"), [("higher", BEST), ("lower", TIED), ("neither", "")])
def test_what_the_record_says_counts_not_the_name(said: Better, word: str, results: Path) -> None:
    """The rows of `edits` again, under the name of a score that was always higher-is-better."""
    for path in results.glob("runs/*/*.json*"):
        path.write_text(path.read_text().replace("edits", "bleurt").replace('"bleurt": "lower"', f'"bleurt": "{said}"'))
    found = compare(load_sweep(results, "s"))
    assert found.better == said
    best = [run for run, verdict in found.verdicts.items() if verdict.word == BEST]
    assert best == {"higher": ["awful"], "lower": ["good"], "neither": []}[said]
    assert word in {verdict.word for verdict in found.verdicts.values()} | {TIED}
    assert ("neither more nor less bleurt is better" in report(results, ["s"], "markdown", "auto")) == (
        said == "neither"
    )


def record(**fields: object) -> Record:
    given = {"id": "a", "key": {}, "status": "ok", "started": "", "method": "a", "label": "a"}
    return Record.model_validate(given | fields)


def test_records_of_before_and_contradictions() -> None:
    old, new = record(quality={"ser": 1.0}), record(quality={"ser": 1.0}, better={"ser": "higher"})
    assert better([old], "ser") == "lower"
    assert better([old], "restaurants/brier_normalised") == "lower"
    assert better([old], "bleu") == "higher"
    assert better([old, new], "ser") == "higher", "a record that says it counts"
    assert better([new, record(better={"ser": "lower"})], "ser") == "neither"
    described = {"length_ratio": "neither", "chrf": "higher"}
    assert main_score([record(quality=dict.fromkeys(described, 1.0), better=described)]) == "chrf"


def test_losses_and_perplexities_of_texts() -> None:
    scores = score_texts([Prediction("", log_likelihood=-9.0, tokens=3)], [Example("", ("three short words",))])
    assert scores.better == dict.fromkeys(("loss", "perplexity", "word_perplexity", "bits_per_byte"), "lower")


def test_lm_eval_says_it_of_its_own_metrics() -> None:
    made = directions(
        {"acc": True, "word_perplexity": False, "bypass": None}, ["acc,none", "word_perplexity,none", "x,f"]
    )
    assert made == {"acc,none": "higher", "word_perplexity,none": "lower", "x,f": "neither"}
    task = LmEvalTask(examples=1, before={}, after={}, right=None, lost=None, gained=None, better={"odd,none": "lower"})
    assert better_at([record(lm_eval={"t": task})], "lm_eval.t.after.odd,none") == "lower"
    silent = task.model_copy(update={"better": None})
    assert better_at([record(lm_eval={"t": silent})], "lm_eval.t.after.perplexity,none") == "lower"


def test_a_run_writes_what_its_scores_say(run_point: Callable[..., Record]) -> None:
    said = run_point("method=lora", "data.metrics=[bleu,slots,surface]").better
    assert said
    assert {name for name, which in said.items() if which == "lower"} == {"ser", "val_loss"}
    assert {name for name, which in said.items() if which == "higher"} == {"bleu"}
    assert run_point("method=zero_shot", "data.metrics=[bleu,slots,surface]").better == said
