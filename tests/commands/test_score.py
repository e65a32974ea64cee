"""`python -m harness score`: files of every form, intervals, and files that are not right (one line, exit code 2)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import metrics
from harness.commands import score
from harness.commands._score_files import Columns, read_files
from harness.errors import run_command
from harness.metrics.tools.bootstrap import interval

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The command on two files of these names and contents: exit code, what it printed, what it said of problems."""

    def command(predictions: tuple[str, str | bytes], references: tuple[str, str | bytes], *more: str) -> Any:
        for name, content in (predictions, references):
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        paths = ["--predictions", str(tmp_path / predictions[0]), "--references", str(tmp_path / references[0])]
        chosen = [] if any(option.startswith("--metrics") for option in more) else ["--metrics=bleu"]
        return run_command(lambda: score.main([*paths, *chosen, *more])), *capsys.readouterr()

    return command


FORMS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "text": (("p.txt", "a pub in town\nthe cat sat down\n"), ("r.txt", "a pub in town\na pub\n\nthe cat sat down\n")),
    "windows": (
        ("p.txt", "\ufeffa pub in town\r\nthe cat sat down"),
        ("r.txt", "a pub in town\r\na pub\r\n\r\nthe cat sat down\r\n\r\n"),
    ),
    "csv": (
        ("p.csv", 'mr,output\ny,the cat sat down\n"x, z",a pub in town\n'),  # paired by input
        ("r.csv", 'mr,ref\n"x, z",a pub in town\n"x, z",a pub\ny,the cat sat down\n'),
    ),
    "tsv": (
        ("p.tsv", "MR\tOutput\nx\ta pub in town\ny\tthe cat sat down\n"),
        ("r.tsv", "source\treference\nx\ta pub in town\nx\ta pub\ny\tthe cat sat down\n"),
    ),
    "jsonl": (
        ("p.jsonl", '{"index": 0, "prediction": "a pub in town"}\n{"index": 1, "prediction": "the cat sat down"}\n'),
        ("r.jsonl", '{"references": ["a pub in town", "a pub"]}\n\n{"references": ["the cat sat down"]}\n'),
    ),
    "mixed": (
        ("p.txt", "a pub in town\nthe cat sat down\n"),
        ("r.jsonl", '{"input": "x", "ref": "a pub in town"}\n{"input": "x", "ref": "a pub"}\n'
         '{"input": "y", "ref": "the cat sat down"}\n'),
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_files(form: str, run: Run, tmp_path: Path) -> None:
    (name, content), (other, wanted) = FORMS[form]
    (tmp_path / name).write_text(content, newline="")
    (tmp_path / other).write_text(wanted, newline="")
    texts = read_files(tmp_path / name, tmp_path / other, Columns(), "utf-8-sig")
    assert texts.predictions == ["a pub in town", "the cat sat down"]
    assert texts.references == [("a pub in town", "a pub"), ("the cat sat down",)]
    code, out, _ = run(*FORMS[form], "--json")
    assert code == 0
    assert json.loads(out)["scores"]["bleu"]["score"] == pytest.approx(1)


def test_columns_by_name_and_one_reference_a_line(run: Run) -> None:
    predictions = ("p.jsonl", '{"said": "yes"}\n{"said": "no"}\n{"said": "no"}\n')
    references = ("r.csv", "truth,note\nyes,a\nyes,b\nno,c\n")
    options = ("--prediction-column=said", "--reference-column=truth", "--metrics=classes", "--json")
    code, out, _ = run(predictions, references, *options)
    assert code == 0
    assert json.loads(out)["scores"]["accuracy"]["score"] == pytest.approx(2 / 3)
    assert run(("p.txt", "yes\nno\nno"), ("r.txt", "yes\nyes\nno\n"), *options[2:])[1] == out


def test_probabilities_from_a_file(run: Run) -> None:
    predictions = ("p.jsonl", '{"prediction": {"yes": 0.9, "no": 0.1}}\n{"prediction": {"yes": 1, "no": 0}}\n')
    code, out, _ = run(predictions, ("r.txt", "yes\nyes\n"), "--metrics=calibration", "--json")
    assert code == 0
    assert json.loads(out)["scores"]["ece"]["score"] == pytest.approx((0.1 + 0) / 2)


def test_a_reference_that_is_missing_is_none(run: Run) -> None:
    """Beside others in a list; a missing prediction is an empty one."""
    predictions = ("p.jsonl", '{"prediction": "a"}\n{"prediction": null}\n')
    references = ("r.jsonl", '{"ref": ["a", null]}\n{"ref": ["b"]}\n')
    _, out, _ = run(predictions, references, "--metrics=questions", "--json")
    assert json.loads(out)["scores"]["exact_match"]["score"] == 50


def test_one_prediction_takes_all_lines_as_its_references(run: Run) -> None:
    assert run(("p.txt", "a pub in town\n"), ("r.txt", "a bar\na pub in town\n"))[1].startswith("bleu   1.0000  bleu|")


def test_lines_end_at_line_feeds_alone(run: Run) -> None:
    """U+2028, a form feed, a next-line mark and a carriage return alone stand within texts."""
    said = "a\u2028b c d\ne\x0cf\x85 g h\ni\rj\x0bk l\x1em\n"
    code, out, _ = run(("p.txt", said), ("r.txt", said), "--json")
    assert (code, json.loads(out)["items"]) == (0, 3)
    code, out, _ = run(
        ("p.csv", "output\na b\rc d\n"), ("r.jsonl", '{"ref": "a b\\rc d"}\n'), "--metrics=classes", "--json"
    )
    assert json.loads(out)["scores"]["accuracy"]["score"] == 1


PAIR = ("p.txt", "a\nb\n")


@pytest.mark.parametrize(
    ("predictions", "references", "more", "says"),
    [
        (PAIR, ("r.txt", "a\n\nb\n\nc\n"), [], "2 predictions for 3 groups of references"),
        (PAIR, ("r.txt", "a\nb\nc\n"), [], "2 predictions for 3 groups of references"),
        (PAIR, ("r.txt", "a\n\n\n\nb\n\nc\n"), ["--metrics=rouge"], "2 predictions for 4 groups"),
        (("p.txt", "a\nb\nc\n"), ("r.txt", "a\n\n\n\nc\n"), [], "item 2 has no references"),
        (PAIR, ("r.jsonl", '{"ref": ["a"]}\n{"ref": []}\n'), [], "item 2 has no references"),
        (PAIR, ("r.csv", "mr,ref\nx,a\ny,\n"), [], "r.csv, row 2: there is no reference"),
        (("p.txt", ""), ("r.txt", ""), [], "nothing to score"),
        (("p.txt", "é\n".encode("latin-1")), ("r.txt", "e\n"), [], "p.txt: not UTF-8 (byte 0); save it as UTF-8"),
        (("p.txt", "é\n".encode("utf-16")), ("r.txt", "e\n"), [], "p.txt: not UTF-8 (byte 0); save it as UTF-8"),
        (PAIR, ("r.txt", "a\nb\n"), ["--encoding=klingon"], "--encoding klingon: no such encoding"),
        (PAIR, ("r.txt", "a\nb\n"), ["--metrics=bluu,nist"], "metric bluu: there is none of that name; did"),
        (PAIR, ("r.txt", "a\nb\n"), ["--metrics=,"], "--metrics: names none; choose from: answer_words, bleu, boxed, "),
        (PAIR, ("r.txt", "a\nb\n"), ["--metrics=slots"], "metric slots: needs the inputs"),
        (PAIR, ("r.csv", "mr,ref\nx,a\ny,b\n"), ["--metrics=slots"], "metric slots: not a meaning representation"),
        (PAIR, ("r.csv", "mr,text\nx,a\ny,b\n"), [], "r.csv: needs a column ref or reference or "),
        (PAIR, ("r.csv", "mr,ref\nx,a\ny,b\n"), ["--reference-column=gold"], "needs a column gold, has mr, ref"),
        (PAIR, ("r.csv", "mr,ref\nx,a,b\ny,b\n"), [], "r.csv, line 2: has not as many cells as the header"),
        (PAIR, ("r.csv", 'mr,ref\nx,"a" b\ny,b\n'), [], "r.csv, after line 1: "),
        (PAIR, ("r.csv", ""), [], "r.csv: needs a column ref or "),
        (PAIR, ("r.jsonl", '{"ref": "a"}\nb\n'), [], "r.jsonl, line 2: not JSON"),
        (PAIR, ("r.jsonl", '["a"]\n["b"]\n'), [], "r.jsonl, line 1: not a JSON object"),
        (("p.csv", "mr,output\nx,a\n"), ("r.csv", "mr,ref\nx,a\ny,b\n"), [], "1 inputs of the references have no"),
        (("p.csv", "mr,output\nx,a\nz,b\n"), ("r.csv", "mr,ref\nx,a\n"), [], "1 outputs have no references"),
        (("p.csv", "mr,output\nx,a\nx,b\n"), ("r.csv", "mr,ref\nx,a\n"), [], "p.csv, row 2: a second, different"),
        (PAIR, ("r.jsonl", '{"ref": "a"}\n{"ref": null}\n'), [], "r.jsonl, row 2: there is no reference"),
        (PAIR, ("r.jsonl", '{"ref": "a"}\n{"ref": NaN}\n'), [], "r.jsonl, row 2: there is no reference"),
        (PAIR, ("r.jsonl", '{"ref": ["a"]}\n{"ref": [null]}\n'), [], "item 2 has no references"),
        (PAIR, ("r.jsonl", '{"ref": ["a"]}\n{"ref": ["", " ", NaN]}\n'), [], "item 2 has no references"),
        (PAIR, ("r.csv", "ref,Ref \na,b\nc,d\n"), [], "r.csv, line 1: 2 columns are named 'ref'"),
        (PAIR, ("r.jsonl", '{"ref": "a", "ref": "b"}\n'), [], "r.jsonl, line 1: 2 keys are named 'ref'"),
        (PAIR, ("r.jsonl", '{"ref": "a"}\n{"ref": "b \\ud83d"}\n'), [], "r.jsonl, line 2: has \\ud83d, half of"),
        (PAIR, ("r.txt", "#### none\nb\n"), ["--metrics=numeric"], "the reference of item 1 has no number"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong(
    predictions: tuple[str, str | bytes], references: tuple[str, str | bytes], more: list[str], says: str, run: Run
) -> None:
    code, out, err = run(predictions, references, *more)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("error: ")
    assert says in err


@pytest.mark.parametrize("missing", ["p.txt", "r.txt"])
def test_a_file_that_is_not_there(missing: str, run: Run, tmp_path: Path) -> None:
    paths = {"p.txt": "--predictions", "r.txt": "--references"}
    code, _, err = run(PAIR, ("r.txt", "a\nb\n"), f"{paths[missing]}={tmp_path / 'gone'}")
    assert (code, err) == (2, f"error: {tmp_path / 'gone'}: no such file\n")


def test_another_encoding_by_name(run: Run) -> None:
    texts = "café noir à la carte\n".encode("cp1252")
    assert run(("p.txt", texts), ("r.txt", texts), "--encoding=cp1252")[1].startswith("bleu   1.0000")


def test_odd_texts_are_scored(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """NUL bytes, a line of 1 MB, right to left text, an empty prediction; in csv too."""
    monkeypatch.setenv("PATH", "")
    texts = ["a\x00b c d e", "word " * 200_000, "שלום עולם טוב מאוד", ""]
    references = ["a\x00b c d e", "word here and there", "שלום עולם טוב מאוד", "a pub"]
    names = "--metrics=bleu,nist,meteor,rouge_l,cider,rouge,questions,surface"
    plain = run(("p.txt", "\n".join(texts) + "\n"), ("r.txt", "\n".join(references) + "\n"), names)
    assert plain[0] == 0, plain[2]
    rows = "".join(f'{i},"{text}"\n' for i, text in enumerate(texts))
    wanted = "".join(f'{i},"{text}"\n' for i, text in enumerate(references))
    table = run(("p.csv", "mr,output\n" + rows), ("r.csv", "mr,ref\n" + wanted), "--metrics=bleu")
    assert table[0] == 0, table[2]
    assert table[1].split()[1] == plain[1].split()[1]


def test_all_predictions_empty(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    names = "--metrics=bleu,nist,rouge_l,cider,rouge,questions,translation"
    code, out, _ = run(("p.txt", "\n\n\n"), ("r.txt", "one\ntwo\nthree four\n"), names, "--ci", "--json")
    scores = json.loads(out)["scores"]
    assert code == 0
    # Nothing is said: every reference word is an edit for TER.
    assert {n: s["score"] for n, s in scores.items()} == {n: (100 if n == "ter" else 0) for n in scores}


def test_intervals(run: Run) -> None:
    """The witnesses: scipy's bootstrap for a mean, sacrebleu on drawn examples for BLEU."""
    import sacrebleu
    from scipy.stats import bootstrap

    rng = np.random.default_rng(0)
    words = ["a", "pub", "cat", "sat", "town", "in", "the", "on"]
    references = [" ".join(rng.choice(words, 12)) for _ in range(80)]
    texts = [" ".join(w if rng.random() < 0.8 else "x" for w in text.split()) for text in references]
    found = metrics.compute(["bleu", "rouge", "surface"], texts, [[text] for text in references])

    unigrams = found["rouge1"]
    got = interval(unigrams)
    known = bootstrap((np.array(unigrams.examples),), np.mean, method="percentile", rng=1, n_resamples=5000)
    assert got == pytest.approx(tuple(known.confidence_interval), abs=0.5)
    assert got[0] < unigrams.value < got[1]  # type: ignore[index, operator]

    drawn = [rng.integers(0, 80, 80) for _ in range(500)]
    known_bleu = [
        sacrebleu.corpus_bleu([texts[i] for i in each], [[references[i] for i in each]], lowercase=True).score
        for each in drawn
    ]
    assert interval(found["bleu"]) == pytest.approx(tuple(np.percentile(known_bleu, [2.5, 97.5])), abs=1.5)
    assert interval(found["distinct_2"]) is None

    files = ("p.txt", "\n".join(texts)), ("r.txt", "\n".join(references))
    code, out, _ = run(*files, "--metrics=rouge,surface", "--ci", "--json")
    scores = json.loads(out)["scores"]
    assert code == 0
    assert scores["rouge1"]["interval_95"] == pytest.approx([got[0] / 100, got[1] / 100])  # type: ignore[index]
    assert scores["distinct_2"]["interval_95"] is None
    line = run(*files, "--metrics=rouge", "--ci")[1].splitlines()[0]
    assert f"[{got[0] / 100:.4f}, {got[1] / 100:.4f}]" in line  # type: ignore[index]


def test_help_names_the_metrics(run: Run) -> None:
    code, out, _ = run(PAIR, ("r.txt", "a\nb\n"), "--help")
    assert code == 0
    assert all(name in out for name in (*metrics.families(), "--ci", "--encoding", "examples:"))
