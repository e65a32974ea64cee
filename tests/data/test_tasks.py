"""Tasks made of rows: templates, splits, what is wrong with them, and the public data sets' own counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data import Splits, load
from harness.data.splits import by_task
from harness.data.tables import read_hub
from harness.errors import UserError
from harness.places import CONF
from harness.prepare.base_model import load_base
from harness.results.lines import read_lines
from harness.results.record import Record
from tests.support.command_line import TINY, Harness, needs_java
from tests.support.records import run_folder
from tests.support.tasks import JSONL, chosen, hub, problems, write

SHARED = Path(__file__).parents[3] / "shared" / "data"
CHOICES = sorted(
    path.relative_to(CONF / "data").with_suffix("").as_posix()
    for path in (CONF / "data").rglob("*.yaml")
    if path.parent.name != "base"
)


def shared(name: str) -> str:
    if not (SHARED / name).is_dir():
        pytest.skip(f"the data is not at {SHARED / name}")
    return f"data.path={SHARED / name}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Questions with their answers in three files of JSON lines."""
    for number, split in enumerate(("train", "validation", "test")):
        write(tmp_path / f"{split}.jsonl", [{"q": f"{number} and {i}?", "a": f"sum {number + i}"} for i in range(6)])
    return tmp_path


def test_templates_make_prompt_and_answer(folder: Path) -> None:
    source = chosen(*JSONL, f"data.path={folder}").data
    splits, _ = load(source)
    assert [len(each) for each in (splits.train, splits.validation, splits.test)] == [6, 6, 6]
    assert source.render(splits.test[1]) == "Q: 2 and 1?"
    assert splits.test[1].references == ("sum 3",)


def test_one_of_several_templates_is_drawn_for_each_example(folder: Path) -> None:
    write(folder / "train.jsonl", [{"q": f"q{i}", "a": "x"} for i in range(300)])
    given = (*JSONL, f"data.path={folder}", "data.prompt=['A {{ q }}','B {{ q }}','C {{ q }}']")

    def letters(*overrides: str) -> list[str]:
        return [example.source[0] for example in load(chosen(*given, *overrides).data)[0].train]

    drawn = letters()
    assert letters() == drawn
    assert all(70 < drawn.count(letter) < 130 for letter in "ABC")  # 100 expected, standard deviation 8
    assert letters("data.template_seed=1") != drawn
    write(folder / "train.jsonl", [{"q": f"q{i}", "a": "x"} for i in range(150, 300)])
    load.cache_clear()
    assert letters() == drawn[150:]  # whatever the other examples are


def test_rows_of_one_input_are_one_example_with_several_references(folder: Path) -> None:
    write(folder / "test.jsonl", [{"q": "x", "a": "1"}, {"q": "y", "a": "2|||3"}, {"q": "x", "a": "4"}])
    test = load(chosen(*JSONL, f"data.path={folder}").data)[0].test
    assert [example.references for example in test] == [("1", "4"), ("2", "3")]


def inputs(splits: Splits) -> list[set[str]]:
    return [{example.source for example in each} for each in (splits.train, splits.validation, splits.test)]


def test_one_file_is_divided_by_seed_and_shares(tmp_path: Path) -> None:
    write(tmp_path / "all.jsonl", [{"q": f"q{i % 100}", "a": f"a{i}"} for i in range(200)])
    files = [f"data.files.{split}=all.jsonl" for split in ("train", "validation", "test")]
    shares = ["data.shares.train=7", "data.shares.validation=1", "data.shares.test=2"]
    given = (*JSONL, f"data.path={tmp_path}", *files, *shares)
    parts = inputs(load(chosen(*given).data)[0])
    assert [len(part) for part in parts] == [70, 10, 20]
    assert len(set.union(*parts)) == 100  # disjoint, and nothing is left out
    other = inputs(load(chosen(*given, "data.seed=1").data)[0])
    assert other != parts
    assert chosen(*given).run_id() != chosen(*given, "data.seed=1").run_id()


def test_an_input_of_the_test_is_not_trained_on(folder: Path) -> None:
    write(folder / "train.jsonl", [{"q": q, "a": "x"} for q in ("2 and 1?", "1 and 1?", "other")])
    write(folder / "validation.jsonl", [{"q": q, "a": "x"} for q in ("2 and 1?", "1 and 1?")])
    # Whichever template is drawn, the input is the same.
    given = (*JSONL, f"data.path={folder}", "data.prompt=['A {{ q }}','B {{ q }}','C {{ q }}']")
    train, validation, test = inputs(load(chosen(*given).data)[0])
    assert [{text[2:] for text in each} for each in (train, validation)] == [{"other"}, {"1 and 1?"}]
    assert len(test) == 6


def test_csv_and_tsv(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('text,label\n"a, b",1\n"two\nlines",0\n')
    (tmp_path / "dev.tsv").write_text("it's \"quoted\t1\nplain\t0\n")
    (tmp_path / "test.tsv").write_text("c\t1\n")
    given = ["data=csv", f"data.path={tmp_path}", "data.prompt='{{ text }}'", "data.answer='{{ label }}'"]
    given += ["data.files.validation=dev.tsv", "data.files.test=test.tsv"]
    (line,) = problems(*given)
    assert "1 cells" not in line
    files = ["data.files.train=dev.tsv", "data.files.validation=dev.tsv", "data.files.test=test.tsv"]
    named = load(chosen(*given, *files, "data.columns=[text,label]").data)[0]
    assert inputs(named)[2] == {"c"}
    assert set.union(*inputs(named)[:2]) == {"it's \"quoted", "plain"}
    (tmp_path / "dev.tsv").write_text("text\tlabel\nd\t1\n")
    (tmp_path / "test.tsv").write_text("text\tlabel\nc\t1\n")
    assert inputs(load(chosen(*given).data)[0]) == [{"a, b", "two\nlines"}, {"d"}, {"c"}]


def test_the_key_holds_what_can_change_the_outcome(folder: Path) -> None:
    given = (*JSONL, f"data.path={folder}")
    same = chosen(*given).run_id()
    changes = ["data.chat=true", "data.truncate=right", "data.multiline=true", "data.stop=[x]", "data.prompt='{{ q }}'"]
    assert len({same, *(chosen(*given, change).run_id() for change in changes)}) == len(changes) + 1


SAYS = {
    "undefined column": (["data.prompt='{{ qq }}'"], "uses {{ qq }}", "did you mean q?"),
    "not a template": (["data.prompt='{{ q'"], "data.prompt: is not a Jinja template", "correct it"),
    "bad filter": (["data.prompt='{{ q | float | nothing }}'"], "data.prompt", "correct it"),
    "no such file": (["data.files.test=tst.jsonl"], "tst.jsonl: no such file", "did you mean test.jsonl?"),
    "no such folder": (["data.path=/nothing/here"], "/nothing/here: no such folder", "give the folder"),
    "unknown format": (["data.files.test=notes.txt"], "unknown format", ".jsonl"),
    "empty file": (["data.files.test=empty.jsonl"], "empty.jsonl: has no rows", "fill it"),
    "not UTF-8": (["data.files.test=latin.jsonl"], "latin.jsonl: not UTF-8 (byte 7)", "save it as UTF-8"),
    "not JSON": (["data.files.test=broken.jsonl"], "broken.jsonl, line 2: is not JSON", "correct the line"),
    "not an object": (["data.files.test=list.jsonl"], "list.jsonl, line 1: is not an object", "{column: value"),
    "no answer": (["data.files.test=unanswered.jsonl"], "unanswered.jsonl, row 1", "fill in the answer"),
    "no template": (["data.prompt=''"], "data.prompt", "give a Jinja template"),
    "head without classes": (["data.head=true"], "data.head=true: there are no classes", "data.verbalizer"),
    "label not in the verbalizer": (
        ["data.verbalizer={2:two}"],
        "train.jsonl, row 1: the label 'sum 0' is not in data.verbalizer (2)",
        "add it",
    ),
    "chat with a head": (["data.head=true", "data.classes=[a,b]", "data.chat=true"], "data.chat", "data.head=false"),
    "unknown metric": (["data.metrics=[blue]"], "data.metrics: there is no blue", "did you mean bleu?"),
    "only inputs of the test": (["data.files.train=again.jsonl"], "every input of train", "name another place"),
    "template of nothing": (["data.prompt='{{ q.x.y }}'"], "data.prompt", "does not have"),
}


@pytest.mark.parametrize(("overrides", "says", "remedy"), SAYS.values(), ids=SAYS)
def test_one_line_says_what_is_wrong(folder: Path, overrides: list[str], says: str, remedy: str) -> None:
    (folder / "notes.txt").write_text("x")
    (folder / "empty.jsonl").write_text("")
    (folder / "latin.jsonl").write_bytes('{"q": "é", "a": "b"}'.encode("latin-1"))
    (folder / "broken.jsonl").write_text('{"q": "x", "a": "y"}\n{"q": \n')
    (folder / "list.jsonl").write_text("[1]\n")
    write(folder / "unanswered.jsonl", [{"q": "x", "a": " "}])
    write(folder / "again.jsonl", [{"q": "2 and 1?", "a": "y"}])
    (line,) = problems(*JSONL, f"data.path={folder}", *overrides)
    assert says in line
    assert remedy in line
    assert "\n" not in line


def test_a_csv_row_of_another_width_is_named(tmp_path: Path) -> None:
    for name in ("train", "validation", "test"):
        (tmp_path / f"{name}.csv").write_text("q,a\nx,y\nx,y,z\n")
    (line,) = problems("data=csv", *JSONL[1:], f"data.path={tmp_path}")
    assert "train.csv, line 3: has 3 cells for 2 columns (q, a)" in line


@pytest.mark.parametrize("choice", ["csv", "jsonl", "hub"])
def test_a_source_must_be_named(choice: str) -> None:
    (line,) = problems(f"data={choice}", "data.prompt=x", "data.answer=y")
    assert line == f"data={choice}: give data.path=FOLDER, data.path=FILE or data.hub_id=…"
    assert problems(f"data={choice}", "data.hub_id=x") == (
        "data.prompt: is missing; give data.prompt=…",
        "data.answer: is missing; give data.answer=…",
    )


def test_glue_by_hub_id(tmp_path: Path) -> None:
    """The layout of `nyu-mll/glue`: labels are numbers, those of the test split are hidden."""
    made = {
        "train": [{"sentence": f"film {i}", "label": i % 2, "idx": i} for i in range(40)],
        "validation": [{"sentence": "good film", "label": 1, "idx": 0}, {"sentence": "bad film", "label": 0, "idx": 1}],
        "test": [{"sentence": "a film", "label": -1, "idx": 0}],
    }
    given = ("data=glue/sst2", hub(tmp_path, "sst2", made), "data.revision=null")
    given = given[:2]
    splits = load(chosen(*given).data)[0]
    assert (len(splits.train), len(splits.validation)) == (38, 2)
    assert [example.references for example in splits.test] == [("positive",), ("negative",)]
    assert splits.test[0].source == "Review: good film\nSentiment (negative or positive):"
    assert load(chosen(*given, "data.head=true").data)[0].test[0].source == "good film"
    (line,) = problems(*given, "data.hub_splits.test=test")
    assert "the label '-1' is not in data.verbalizer (0, 1)" in line
    (line,) = problems(*given, "data.hub_splits.test=dev")
    assert "has no split dev" in line
    assert "test, train, validation" in line
    (tmp_path / "test.parquet").write_bytes(b"PAR1 and no more")
    (line,) = problems(*given[:1], "data.hub_id=null", f"data.path={tmp_path}", "data.files.train=test.parquet")
    assert "test.parquet: is not a parquet file" in line
    (line,) = problems(*given, "data.hub_name=sst")
    assert f"data.hub_id={tmp_path}: cannot be loaded" in line


def test_words_of_csv_files_of_the_hub_stay_words(tmp_path: Path) -> None:
    """`datasets` reads them by pandas, which takes some words for missing cells and renames columns of one name."""
    words = ["None", "NA", "nan", "null", "N/A"]
    text = "q,a,n\n" + "".join(f"{word} {i},{word},{i}\n" for i, word in enumerate(words))
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.csv").write_text(text + "six,,\n")
    rows = read_hub(str(tmp_path), None, "main", ["train", "test"])
    assert [row["a"] for row in rows["test"]] == [*words, ""]
    assert rows["train"][5] == {"q": "six", "a": "", "n": ""}
    other = tmp_path / "twins"
    other.mkdir()
    (other / "train.csv").write_text("q,a,a\n1,2,3\n")
    with pytest.raises(UserError, match=r"train\.csv, line 1: 2 columns are named 'a'"):
        read_hub(str(other), None, "main", ["train"])


def test_wikitext_by_hub_id_is_wikitext_by_path(tmp_path: Path) -> None:
    """The layout of `Salesforce/wikitext`: a row a line, also empty ones. Blocks are whole lines of one article."""
    (tmp_path / "hub").mkdir()
    lines = {
        split: ["", f" = {split} = \n", "", *(f" {split} {i} {'x' * 30} \n" for i in range(5)), f" = B {split} = \n"]
        for split in ("train", "validation", "test")
    }
    by_hub = hub(
        tmp_path / "hub", "wikitext-2-raw-v1", {split: [{"text": x} for x in each] for split, each in lines.items()}
    )
    for name, split in (("train", "train"), ("valid", "validation"), ("test", "test")):
        (tmp_path / f"wiki.{name}.raw").write_text("".join(line or "\n" for line in lines[split]))
    found = load(chosen("data=wikitext", by_hub, "data.block=90").data)
    assert found == load(chosen("data=wikitext", f"data.path={tmp_path}", "data.block=90").data)
    texts = [example.source for example in found[0].test]
    line = "test {} " + "x" * 30
    assert texts == [
        "= test =\n" + line.format(0) + "\n" + line.format(1),
        line.format(2) + "\n" + line.format(3),
        line.format(4),
        "= B test =",
    ]


ROWS: dict[str, tuple[dict[str, object], str, tuple[str, ...]]] = {
    "samsum": ({"dialogue": "A: Hi", "summary": "A greets."}, "A: Hi\n\nSummarize", ("A greets.",)),
    "webnlg": (
        {"input": ["A | born | B", "A | age | 3"], "target": "t", "references": ["r1", "r2"]},
        "Triples: A | born | B ; A | age | 3\n",
        ("r1", "r2"),
    ),
    "dart": (
        {"tripleset": [["A", "born", "B"], ["A", "age", "3"]], "target": "t", "references": []},
        "Triples: A | born | B ; A | age | 3\n",
        ("t",),
    ),
    "mmlu": (
        {"question": "Which?", "choices": ["w", "x", "y", "z"], "answer": 2},
        "Which?\nA. w\nB. x\nC. y\nD. z\nAnswer:",
        ("C",),
    ),
    "bbh": ({"input": "not True is", "target": "False"}, "Q: not True is\nA:", ("False",)),
    "glue/cola": ({"sentence": "S.", "label": 1}, "Sentence: S.", ("yes",)),
    "glue/mrpc": ({"sentence1": "a", "sentence2": "b", "label": 0}, "Sentence 1: a\nSentence 2: b", ("no",)),
    "glue/qqp": ({"question1": "a", "question2": "b", "label": 1}, "Question 1: a", ("yes",)),
    "glue/stsb": ({"sentence1": "a", "sentence2": "b", "label": 3.27}, "Sentence 1: a", ("3.2",)),
    "glue/mnli": ({"premise": "a", "hypothesis": "b", "label": 1}, "Premise: a\nHypothesis: b", ("maybe",)),
    "glue/qnli": ({"question": "a", "sentence": "b", "label": 0}, "Question: a", ("yes",)),
    "glue/rte": ({"sentence1": "a", "sentence2": "b", "label": 1}, "Premise: a", ("no",)),
    "glue/wnli": ({"sentence1": "a", "sentence2": "b", "label": 1}, "a\nDoes it follow that: b", ("yes",)),
    "super_glue/boolq": ({"question": "is it", "passage": "p", "label": 1}, "p\nQuestion: is it?", ("yes",)),
    "super_glue/cb": ({"premise": "a", "hypothesis": "b", "label": 2}, "a\nHypothesis: b", ("maybe",)),
    "super_glue/copa": (
        {"premise": "p", "choice1": "x", "choice2": "y", "question": "cause", "label": 1},
        "p\nWhat was the cause?\nA. x\nB. y\n",
        ("B",),
    ),
    "super_glue/multirc": (
        {"paragraph": "p", "question": "q?", "answer": "z", "label": 1},
        "p\nQuestion: q?\nProposed answer: z",
        ("yes",),
    ),
    "super_glue/record": (
        {"passage": "p\n@highlight\nh", "query": "@placeholder ran", "entities": ["A", "B"], "answers": ["A", "B"]},
        "p\n\nh\n\n@placeholder ran",
        ("A", "B"),
    ),
    "super_glue/rte": ({"premise": "a", "hypothesis": "b", "label": 0}, "Premise: a", ("yes",)),
    "super_glue/wic": ({"word": "w", "sentence1": "a", "sentence2": "b", "label": 1}, "Sentence 1: a", ("yes",)),
    "super_glue/wsc": ({"text": "t", "span1_text": "Mark", "span2_text": "he", "label": 0}, "t\nIn this", ("no",)),
}
"""By task: a row of the hub's layout, how its prompt begins, its references."""
FILES: dict[str, tuple[dict[str, object], str, tuple[str, ...]]] = {
    "dart": (
        {
            "tripleset": [["A", "born", "B"]],
            "annotations": [{"source": "s", "text": "x"}, {"source": "s", "text": "y"}],
        },
        "Triples: A | born | B\n",
        ("x", "y"),
    ),
    "glue/mnli": ({"sentence1": "a", "sentence2": "b", "gold_label": "neutral"}, "Premise: a", ("maybe",)),
    "glue/mrpc": ({"#1 String": "a", "#2 String": "b", "Quality": "1"}, "Sentence 1: a\nSentence 2: b", ("yes",)),
    "glue/qqp": ({"question1": "a", "question2": "b", "is_duplicate": "0"}, "Question 1: a", ("no",)),
    "glue/stsb": ({"sentence1": "a", "sentence2": "b", "score": "5.000"}, "Sentence 1: a", ("5.0",)),
    "glue/rte": ({"sentence1": "a", "sentence2": "b", "label": "not_entailment"}, "Premise: a", ("no",)),
    "super_glue/boolq": ({"question": "is it", "passage": "p", "label": False}, "p\nQuestion: is it?", ("no",)),
    "super_glue/wsc": (
        {"text": "t", "target": {"span1_text": "Mark", "span2_text": "he"}, "label": True},
        "t\nIn this text, does 'he' mean 'Mark'?",
        ("yes",),
    ),
}
"""By task: a row as the official files have it, where that is another layout."""


@pytest.mark.parametrize(
    ("task", "row", "begins", "references"),
    [(task, *each) for rows in (ROWS, FILES) for task, each in rows.items()],
    ids=[f"{task} {kind}" for kind, rows in (("hub", ROWS), ("file", FILES)) for task in rows],
)
def test_a_row_of_each_task(
    task: str, row: dict[str, object], begins: str, references: tuple[str, ...], tmp_path: Path
) -> None:
    """The test split is the row; the other two are rows of other inputs."""
    labels = ("label", "gold_label", "Quality", "is_duplicate", "score")
    for n, split in enumerate(("test", "train", "validation"), 1):
        changed = {k: v * n if isinstance(v, list) else f"{v} {n}" for k, v in row.items() if isinstance(v, str | list)}
        kept = {name: value for name, value in row.items() if name in labels or split == "test"}
        write(tmp_path / f"{split}.jsonl", [row | changed | kept])
    files = [f"data.files.{split}={split}.jsonl" for split in ("train", "validation", "test")]
    splits = load(chosen(f"data={task}", f"data.path={tmp_path}", *files).data)[0]
    (found,) = splits.test
    assert found.source.startswith(begins)
    assert found.references == references


def test_every_task_is_tested() -> None:
    own = {"csv", "jsonl", "hub", "mix", "chat", "e2e", "cuisine", "restaurants", "dialogsum", "gsm8k", "wikitext"}
    own |= {"glue/sst2", "metamathqa", "metamathqa_math", "math", "commonsense", "alpaca", "guanaco", "tulu3"}
    own |= {"code_alpaca", "humaneval", "code_alpaca_humaneval"}
    assert set(CHOICES) == own | set(ROWS)
    assert len([name for name in CHOICES if name.startswith("glue/")]) == 9
    assert len([name for name in CHOICES if name.startswith("super_glue/")]) == 8


DIALOGSUM = ("data=dialogsum", "data.files.train=dialogsum.dev.jsonl")
WIKITEXT = ("data=wikitext", "data.files.train=wiki.test.raw", "data.files.validation=wiki.test.raw")


@pytest.mark.parametrize(
    ("name", "overrides", "both", "test", "references"),
    [
        ("dialogsum", DIALOGSUM, 500, 500, 3),
        ("gsm8k", ("data=gsm8k",), 7473, 1319, 1),
        ("cola", ("data=glue/cola",), None, 527, 1),
    ],
)
def test_published_counts(name: str, overrides: tuple[str, ...], both: int | None, test: int, references: int) -> None:
    splits = load(chosen(*overrides, shared(name)).data)[0]
    assert both is None or len(splits.train) + len(splits.validation) == both
    assert len(splits.test) == test
    assert {len(example.references) for example in splits.test} == {references}


def test_nine_templates_of_dialogsum() -> None:
    source = chosen(*DIALOGSUM, shared("dialogsum")).data
    assert len(set(source.prompt)) == 9
    parts = [template.split("{{ dialogue }}") for template in source.prompt]
    found = {
        number
        for example in load(source)[0].train
        for number, (before, after) in enumerate(parts)
        if example.source.startswith(before) and example.source.endswith(after)
    }
    assert found == set(range(9))


RUN = ("method=lora", "train.batch_size=2", "train.validation_examples=2", "train.warmup_steps=1", "train.steps=2")


def test_summaries_are_trained_on_and_cut_where_they_are_long(run_point: Callable[..., Record]) -> None:
    """The tiny model has a token for each character, 600 of them in its context; eight are for the answer."""
    given = (*DIALOGSUM, shared("dialogsum"), "model.context=600")
    record = run_point(*given, *RUN, small=TINY)
    assert record.status == "ok", record.cause
    assert {"rougeL", "val_loss"} <= set(record.quality)
    settings = chosen(*given)
    _, tokenizer = load_base(settings)
    texts = [example.source for example in by_task(load(settings.data)[0].test, 4)]
    long = sum(len(tokenizer(text)["input_ids"]) > 592 for text in texts)
    assert 0 < long < 4
    assert record.truncated["test"] == (long, 4)
    assert {split: count for split, (_, count) in record.truncated.items()} == {"train": 4, "validation": 2, "test": 4}


def test_sums_in_words_keep_their_lines(run_point: Callable[..., Record]) -> None:
    record = run_point("data=gsm8k", shared("gsm8k"), *RUN, small=TINY)
    assert record.status == "ok", record.cause
    assert record.key["data"]["multiline"] is True


def test_language_modelling(run_point: Callable[..., Record], tmp_path: Path) -> None:
    given = (*WIKITEXT, shared("wikitext2"), *RUN, "data.block=300", "train.max_length=256")
    record = run_point(*given, small=TINY)
    assert record.status == "ok", record.cause
    assert record.quality["perplexity"] == pytest.approx(2.718281828459045 ** (record.quality["loss"] or 0))
    lines = read_lines(run_folder(tmp_path / "results", record.id) / "predictions.jsonl")
    total = -sum(line["log_likelihood"] for line in lines)
    assert record.quality["loss"] == pytest.approx(total / sum(line["tokens"] for line in lines))
    assert all(line["tokens"] <= 255 for line in lines)
    cut = sum(line["tokens"] == 255 for line in lines)
    assert record.truncated["test"] == (cut, 4)
    assert (record.quality["word_perplexity"] is None) is (cut > 0)


@needs_java
def test_a_score_without_java_is_null_with_the_reason_and_made_again_with_it(harness: Harness) -> None:
    asked = ("-m", "method=zero_shot,lora", "data.metrics=[bleu,meteor]")
    assert harness(*asked, PATH="/nonexistent").returncode == 0
    without = harness.records()
    for record in without.values():
        assert record.quality["bleu"] is not None
        assert record.quality["meteor"] is None
        assert "install a Java runtime" in record.null_reasons["quality.meteor"]
    assert harness(*asked).returncode == 0
    again = {run: record for run, record in harness.records().items() if run not in without}
    assert len(without) == len(again) == 2
    assert all(record.quality["meteor"] is not None for record in again.values())
