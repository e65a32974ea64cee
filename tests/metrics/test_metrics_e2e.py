"""The E2E challenge's scores: the official figures, and the scorers' own direct calls on other outputs."""

from __future__ import annotations

import json
import math
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import metrics
from harness.commands._score_files import Columns, Texts, read_files
from harness.metrics import meteor, nist
from harness.metrics.tools import ptb
from harness.metrics.tools.treebank import treebank
from tests.support.command_line import needs_java

ROOT = Path(__file__).parents[2]
E2E = ROOT.parent / "shared" / "data" / "e2e"
needs_e2e = pytest.mark.skipif(not E2E.is_dir(), reason=f"the E2E data is not at {E2E}")

OFFICIAL = {
    "bleu": 0.6593,
    "nist": 8.6094,
    "nist_pymteval": 8.5923,
    "meteor": 0.4483,
    "rouge_l": 0.6850,
    "cider": 2.2338,
}
"""What the challenge's own scorer prints for the baseline's outputs; `nist_pymteval` with its option -p."""
GROUPS = (("the cat sat on the mat", "a cat sat on a mat"), ("there is a pub in town", "the pub is in town"))


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    ptb._tokenize.cache_clear()


def baseline() -> Texts:
    return read_files(E2E / "tgen_test_outputs.tsv", E2E / "testset_w_refs.csv", Columns(), "utf-8-sig")


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = ["--predictions", str(E2E / "tgen_test_outputs.tsv"), "--references", str(E2E / "testset_w_refs.csv")]
    return subprocess.run(
        [sys.executable, "-m", "harness", "score", *paths, *arguments],
        cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@needs_e2e
@needs_java
def test_official_figures_by_the_command() -> None:
    """All but the rougeL figure are the challenge's; that one is rouge-score's, from the README of the data."""
    answer = command("--metrics", "bleu,nist,meteor,rouge_l,cider,rouge", "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["items"] == 630
    scores = {name: round(one["score"], 4) for name, one in found["scores"].items()}
    assert {name: scores[name] for name in OFFICIAL} == OFFICIAL
    assert scores["rougeL"] == 0.6743
    assert "tok:ptb|" in found["scores"]["cider"]["signature"]


@needs_e2e
def test_official_figures_without_java(tmp_path: Path) -> None:
    answer = command("--json", PATH=str(tmp_path))
    assert answer.returncode == 0, answer.stderr
    scores = json.loads(answer.stdout)["scores"]
    assert {name: round(scores[name]["score"], 4) for name in OFFICIAL if name != "meteor"} == {
        name: value for name, value in OFFICIAL.items() if name != "meteor"
    }
    assert scores["meteor"]["score"] is None
    assert "no java" in scores["meteor"]["reason"]
    assert "tok:ptb-standin" in scores["rouge_l"]["signature"]
    assert "tok:ptb-standin" in scores["cider"]["signature"]


@needs_e2e
@needs_java
def test_short_outputs_equal_the_libraries_own_calls() -> None:
    """Outputs cut to four words, one to none: sacrebleu's and pycocoevalcap's own classes are the witnesses."""
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
    from sacrebleu.metrics.bleu import BLEU

    texts = baseline()
    items = range(0, 630, 21)
    outputs = [" ".join(texts.predictions[i].split()[: 4 + i % 5]) for i in items]
    outputs[3], outputs[4] = "", texts.references[items[4]][0]  # one says nothing, one is its reference
    groups = [texts.references[i] for i in items]
    found = metrics.compute(["bleu", "meteor", "rouge_l", "cider"], outputs, groups)

    most = max(map(len, groups))
    streams = [[group[i] if i < len(group) else None for group in groups] for i in range(most)]
    total = BLEU(lowercase=True).corpus_score(outputs, streams)  # type: ignore[arg-type]
    assert found["bleu"].value == pytest.approx(total.score)
    assert total.bp < 0.9

    tokenizer = PTBTokenizer()
    given = tokenizer.tokenize({i: [{"caption": text}] for i, text in enumerate(outputs)})
    wanted = tokenizer.tokenize({i: [{"caption": text} for text in group] for i, group in enumerate(groups)})
    for name, scorer, unit in (("rouge_l", Rouge(), 100), ("cider", Cider(), 1), ("meteor", Meteor(), 100)):
        value, each = scorer.compute_score(wanted, given)
        assert found[name].value == pytest.approx(unit * value), name
        assert found[name].examples == pytest.approx([unit * one for one in each]), name


@needs_e2e
def test_missing_references_are_no_empty_references() -> None:
    """Outputs of half the length: padding with empty texts would shorten the closest reference."""
    texts = baseline()
    short = [" ".join(text.split()[: len(text.split()) // 2]) for text in texts.predictions]
    found = metrics.compute(["bleu"], short, texts.references)["bleu"]
    assert found.statistics is not None
    wanted = []
    for row, group in zip(found.statistics, texts.references, strict=True):
        from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

        lengths = [len(Tokenizer13a()(text.lower()).split()) for text in group]
        wanted.append(min(lengths, key=lambda n: (abs(n - row[0]), n)))
    assert [row[1] for row in found.statistics] == wanted


def naive_nist(outputs: Sequence[Sequence[str]], groups: Sequence[Sequence[Sequence[str]]], perl: bool) -> float:
    """NIST word by word from its definition, with lists and counting in them."""

    def grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
        return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]

    everything = [words for group in groups for words in group]
    pooled = {n: [g for words in everything for g in grams(words, n)] for n in range(1, 6)}

    def information(gram: tuple[str, ...]) -> float:
        whole = len(pooled[1]) if len(gram) == 1 else pooled[len(gram) - 1].count(gram[:-1])
        return math.log(whole / pooled[len(gram)].count(gram), 2)

    total = 0.0
    for n in range(1, 6):
        gained, made = 0.0, 0
        for words, group in zip(outputs, groups, strict=True):
            mine = grams(words, n)
            made += len(mine)
            for gram in set(mine):
                allowed = max(grams(reference, n).count(gram) for reference in group)
                gained += min(mine.count(gram), allowed) * (information(gram) if allowed else 0)
        total += gained / made if made else 0.0
    length = sum(map(len, outputs))
    if perl:
        wanted = len(pooled[1]) / (len(everything) / len(groups))
    else:
        wanted = sum(sum(map(len, group)) / len(group) for group in groups)
    return total * math.exp(math.log(0.5) / math.log(1.5) ** 2 * math.log(min(1, length / wanted)) ** 2)


@needs_e2e
@pytest.mark.parametrize("words", [3, 8, 100])
def test_nist_equals_its_definition(words: int) -> None:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    texts = baseline()
    outputs = [" ".join(text.split()[:words]) for text in texts.predictions[:60:2]]
    groups = texts.references[:60:2]
    found = metrics.compute(["nist"], outputs, groups)
    cut = Tokenizer13a()
    lists = [[cut(text.lower()).split() for text in group] for group in groups]
    tokens = [cut(text.lower()).split() for text in outputs]
    assert found["nist"].value == pytest.approx(naive_nist(tokens, lists, perl=True))
    assert found["nist_pymteval"].value == pytest.approx(naive_nist(tokens, lists, perl=False))


def test_nist_by_hand() -> None:
    """References `a b` and `a c d e`: of six words a has log2(6/2) bits and b log2(6/1); after a, b has log2(2/1).

    Output `a b`: words (log2 3 + log2 6) / 2, pairs 1 / 1; it is two words where three are the mean: half is left.
    """
    found = metrics.compute(["nist"], ["a b"], [["a b", "a c d e"]])
    by_hand = ((math.log2(3) + math.log2(6)) / 2 + 1) * 0.5
    assert found["nist"].value == pytest.approx(by_hand)
    assert found["nist_pymteval"].value == pytest.approx(by_hand)
    # A second item with one reference of one word: 7 words over 3 references times 2 items, against 3 + 1.
    two = metrics.compute(["nist"], ["a b", "f"], [["a b", "a c d e"], ["f"]])
    gained = (math.log2(7 / 2) + math.log2(7) + math.log2(7)) / 3 + 1
    for name, wanted in (("nist", 7 / 3 * 2), ("nist_pymteval", 4)):
        assert two[name].value == pytest.approx(gained * math.exp(nist.BETA * math.log(3 / wanted) ** 2))


def test_the_brevity_of_nist_halves_at_two_thirds() -> None:
    assert math.exp(nist.BETA * math.log(2 / 3) ** 2) == pytest.approx(0.5)


@needs_e2e
@needs_java
def test_the_stand_in_is_near_the_penn_treebank_tokenizer() -> None:
    """On references it was not looked at for, and on summaries; Stanford's own tokenizer is the witness."""
    from harness.commands._score_files import read_table

    texts = list(dict.fromkeys(str(row["ref"]) for row in read_table(E2E / "trainset.csv", "utf-8-sig")))[20000:24000]
    theirs = ptb.stanford(texts)
    ours = [ptb.without_punctuation(treebank(text)) for text in texts]
    assert sum(a == b for a, b in zip(ours, theirs, strict=True)) >= 0.999 * len(texts)


def test_the_stand_in_on_what_restaurants_need() -> None:
    """Rules of the Penn Treebank. COCO's list of punctuation has brackets in upper case alone, so these stay."""
    said = "It's a family-friendly pub (5/5), it doesn't cost £20-25!"
    assert (
        ptb.without_punctuation(treebank(said))
        == "it 's a family-friendly pub -lrb- 5/5 -rrb- it does n't cost # 20-25"
    )


def fake_java(folder: Path, script: str) -> str:
    """A PATH on which `java` is this script."""
    java = folder / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    return f"{folder}:/usr/bin:/bin"


def test_java_that_hangs_is_killed_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_java(tmp_path, f"sleep 300 & echo $! > {tmp_path}/pid; wait"))
    monkeypatch.setenv("HARNESS_JAVA_TIMEOUT", "0.5")
    started = time.monotonic()
    found = metrics.compute(["meteor", "cider"], ["a cat", "a pub"], GROUPS)
    assert time.monotonic() - started < 10
    assert found["meteor"].value is None
    assert "killed: it had not ended after 0.5 s" in str(found["meteor"].reason)
    assert "ptb-standin" in found["cider"].signature
    child = int((tmp_path / "pid").read_text())
    for _ in range(50):  # the system needs a moment to end it
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or " Z " in state.read_text():
            break
        time.sleep(0.1)
    else:
        pytest.fail("what java had started still runs")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("cat > /dev/null; echo 'OutOfMemoryError: heap' >&2; exit 3", "ended with 3: OutOfMemoryError: heap"),
        ("cat > /dev/null; kill -9 $$", "ended with -9"),
        ("exit 1", "ended with 1"),
        ("cat > /dev/null", "0 tokenized lines for 6 texts"),
    ],
)
def test_java_that_crashes_is_reported(
    script: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", fake_java(tmp_path, script))
    found = metrics.compute(["meteor", "rouge_l"], ["a cat", "a pub"], GROUPS)
    assert found["meteor"].value is None
    assert reason in str(found["meteor"].reason)
    assert "\n" not in str(found["meteor"].reason)
    assert found["rouge_l"].value is not None


@needs_java
def test_meteor_that_crashes_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokenizer runs, METEOR does not."""
    real = shutil.which("java")
    script = f'case "$*" in *meteor*) cat > /dev/null; echo broken >&2; exit 1;; *) exec {real} "$@";; esac'
    monkeypatch.setenv("PATH", fake_java(tmp_path, script))
    found = metrics.compute(["meteor", "rouge_l"], ["a cat", "a pub"], GROUPS)
    assert (found["meteor"].value, found["meteor"].reason) == (None, "java ended with 1: broken")
    assert "tok:ptb|" in found["rouge_l"].signature


@needs_java
def test_tokenized_text_is_the_same_in_any_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    lines = ptb.stanford(["Café Sicilia costs £20", "", "one\u2028line\r\nstill\x00one", "שלום עולם", "half \ud83d"])
    assert lines == [
        "café sicilia costs # 20",
        "",
        "one line still one",
        "שלום עולם",
        "half",
    ]  # ? for a broken character


def test_meteor_of_one_perfect_example_is_one() -> None:
    """All words matched in one chunk, as METEOR's program prints it but for its chunk, which it does not count."""
    row = [6.0, 6.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, *[0.0] * 12, 0.0, 6.0, 6.0]
    assert len(row) == meteor.WIDTH
    assert meteor.of_sums(row) == pytest.approx(100)
