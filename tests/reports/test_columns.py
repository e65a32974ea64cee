"""Tables that fit a terminal, columns that are chosen, and LaTeX for a column of a paper."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from harness.errors import UserError
from harness.places import ROOT
from reports.__main__ import main
from reports.commands.table import report, tables_for
from reports.formats.terminal import to_terminal
from reports.values.table import Cell, Heading, Table
from tests.support.terminal import on_terminal

QUICKSTART = ROOT / "docs/results/quickstart"
COMMITTED = sorted(path.parent for path in (ROOT / "docs/results").glob("*/sweeps"))
"""Folders of committed results."""


def sweeps_of(results: Path) -> list[str]:
    folder = results / "sweeps"
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.json"))


@pytest.mark.parametrize("results", COMMITTED, ids=lambda path: path.name)
def test_every_committed_table_fits_the_terminal_that_it_is_shown_on(results: Path) -> None:
    for name in sweeps_of(results):
        for which in ("auto", "memory", "speed", "storage", "inference"):
            try:
                tables = tables_for(results, [name], which)
            except UserError:
                continue  # the sweep has none
            for table in tables:
                widest = max(len(row[0].text) + 8 for row in table.rows)
                for width in (max(40, widest), 80, 100, 160):
                    lines = to_terminal(table, max(width, widest)).splitlines()
                    assert max(map(len, lines)) <= max(width, widest)
                    assert not any("\\" in line for line in lines), "an escape of Markdown"


def test_what_matters_most_is_there_at_100_columns() -> None:
    (table,) = tables_for(QUICKSTART, ["quickstart"], "methods")
    text = to_terminal(table, 100)
    for said in ("134,515,008", "2,397.5", "+30.83 [+26.10, +35.28]", "best at these", "[tokens/s]", "35.82"):
        assert said in text
    left = text[text.index("columns left out") :]
    for heading in table.headings:
        shown = heading.text.split(" [")[0].split()[0] in text.partition("columns left out")[0]
        assert shown or heading.text in " ".join(left.split())
    for row in table.rows:
        assert row[0].text in text


def made(width: int) -> Table:
    """A row of names, a wide column of numbers, and words."""
    headings = (Heading("row", False, "label"), Heading("number [a unit]", True, "n"), Heading("what", False, "what"))
    words = Cell("several words to wrap", best=True)
    rows = tuple((Cell(f"row {i}"), Cell("9" * width, ("1",)), words) for i in range(3))
    frame = pd.DataFrame({"label": ["row"], "n": [1], "what": ["x"]})
    return Table("made", ("A question?",), headings, rows, (("1", "of a mark"), ("", "of all")), frame, ("label", "n"))


def test_a_column_without_room_is_left_out_and_named() -> None:
    text = to_terminal(made(60), 40)
    assert "9" * 20 not in text
    assert "number [a unit]" in " ".join(text[text.index("1 column left out") :].split())
    assert "[1] of a mark" not in text
    text = to_terminal(made(12), 60)
    assert "9" * 12 + " [1]" in text
    assert "[1] of a mark" in text
    assert "left out" not in text


NAMED: list[tuple[str, list[str]]] = [
    ("row,BLEU,verdict", ["row", "BLEU", "verdict"]),
    ("label,bleu,verdict", ["row", "BLEU", "verdict"]),
    ("verdict, row", ["verdict", "row"]),
    ("training peak of tensors,row", ["training peak of tensors [MiB]", "row"]),
    ("row,row", ["row"]),
]


@pytest.mark.parametrize(("columns", "headings"), NAMED)
def test_columns_are_named_and_ordered(columns: str, headings: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["quickstart", "--results", str(QUICKSTART), "--table", "methods", "--columns", columns]
    assert main([*words, "--format", "markdown"]) == 0
    text = capsys.readouterr().out
    (head,) = [line for line in text.splitlines() if line.startswith("| ")][:1]
    assert [cell.strip() for cell in head.strip("|").split("|")] == headings
    marks = {mark for line in text.splitlines() if line.startswith("| ") for mark in re.findall(r" \[(\d+)\]", line)}
    assert set(re.findall(r"^- \[(\d+)\]", text, re.M)) == marks, "notes are those of the marks that are shown"


def test_raw_formats_take_the_same_names(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["quickstart", "--results", str(QUICKSTART), "--columns", "row,BLEU,train_peak_bytes,seed"]
    assert main([*words, "--format", "csv"]) == 0
    frame = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert [*frame.columns] == ["label", "bleu", "train_peak_bytes", "seed"]
    whole = json.loads(report(QUICKSTART, ["quickstart"], "json", "methods"))
    assert frame["bleu"].tolist() == pytest.approx([row["bleu"] for row in whole])


def test_a_column_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("markdown", "csv", "tabular"):
        assert main(["quickstart", "--results", str(QUICKSTART), "--columns", "row,blue,x y", "--format", form]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "error: --columns blue: there is no such column; did you mean bleu?"
        assert lines[1].startswith("error: --columns x y: there is no such column; ")


def test_the_best_and_what_is_tied_with_it_are_bold() -> None:
    text = report(QUICKSTART, ["quickstart"], "tabular", "methods", columns=("row", "BLEU", "verdict"))
    bold = re.findall(r"^(.*?) & \\textbf\{([\d.]+)\} & (.*?) \\\\$", text, re.M)
    assert [row for row, _, _ in bold] == ["lora r=1", "lora r=8", "prefix tuning", "full"]
    assert all("best" in verdict for _, _, verdict in bold)
    assert text.count("\\textbf") == 4
    assert text.startswith("% ")
    assert "\\caption" not in text
    assert "\\begin{table}" not in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_a_paper_takes_the_tabular_under_a_caption_of_its_own(tmp_path: Path) -> None:
    text = report(QUICKSTART, ["quickstart"], "tabular", "methods", columns=("row", "trainable parameters", "BLEU"))
    (tmp_path / "t.tex").write_text(text)
    (tmp_path / "p.tex").write_text(
        "\\documentclass[twocolumn]{article}\\usepackage{booktabs}\\begin{document}\\begin{table}\\centering"
        "\\small\\input{t}\\caption{Mine.}\\end{table}\\end{document}"
    )
    words = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "p.tex"]
    made = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout
    assert "Overfull \\hbox" not in made.stdout, "it fits a column of a paper"


@pytest.mark.parametrize("change", [lambda results: None, lambda results: (results / "tables").write_text("a file")])
def test_on_a_terminal_it_fits_and_the_whole_is_in_a_file(tmp_path: Path, change: Callable[[Path], object]) -> None:
    results = tmp_path / "results"
    shutil.copytree(QUICKSTART, results)
    change(results)
    words = [sys.executable, "-m", "reports", "quickstart", "--results", str(results)]
    text, code, _ = on_terminal(words, 100, ROOT)
    assert code == 0
    kept = results / "tables/quickstart.md"
    *shown, last = text.splitlines()
    if kept.is_file():
        assert last == f"all columns and notes: {kept}"
        assert kept.read_text() == report(results, ["quickstart"], "markdown", "auto")
    else:
        shown.append(last)
    assert max(map(len, shown)) <= 100
    assert "columns left out (--columns)" in text


def test_the_table_of_the_readme_is_one_that_a_command_prints() -> None:
    (table,) = tables_for(QUICKSTART, ["quickstart"], "methods")
    text = to_terminal(table, 100)
    assert text[: text.index("[1] nothing is trained")].strip() in (ROOT / "README.md").read_text()
