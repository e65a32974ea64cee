"""Formats of tables, and inputs that are not right: hostile names, records that do not fit together."""

from __future__ import annotations

import html.parser
import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import markdown_it
import pandas as pd
import pytest

from harness.results.folder import run_id
from harness.results.sweep_files import write_sweep
from reports.__main__ import main
from reports.commands.table import report
from reports.read.runs import load_sweep
from tests.support.records import add, add_base, cells, key, run_folder, spoiled, sweep
from tests.support.tables import everything, right, row

HOSTILE = ("<script>alert(1)</script>", "a|b", "R&D &lt; 5%", "_all_ a_b", "[x](y) ~~z~~ $m$ #1 ^ \\")


# Formats


class Reader(html.parser.HTMLParser):
    """Tags and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def hostile(results: Path) -> None:
    """A sweep whose rows and question are named to break things."""
    add_base(results)
    for number, name in enumerate(HOSTILE):
        add(
            results,
            f"r{number}",
            spoiled(0.1 * number, number),
            {"name": f"m{number}"},
            null_reasons={"forgetting": name},
        )
    names = {"zero_shot": "zero shot"} | {f"r{number}": name for number, name in enumerate(HOSTILE)}
    listed = [{"id": run, "label": label, "overrides": ""} for run, label in names.items()]
    write_sweep(results, "s", "; ".join(HOSTILE), listed)


def test_html_says_names_as_they_are_and_holds_no_script(tmp_path: Path) -> None:
    hostile(tmp_path)
    page = Reader()
    page.feed(report(tmp_path, ["s"], "html", "methods"))
    assert not {"script", "a", "img", "link"} & set(page.tags)
    assert set(HOSTILE) <= set(page.texts)
    assert page.tags.count("table") == 1
    assert page.tags.count("tr") == 2 + len(HOSTILE)


def test_markdown_says_names_as_they_are(tmp_path: Path) -> None:
    hostile(tmp_path)
    page = Reader()
    page.feed(
        markdown_it.MarkdownIt("gfm-like", {"linkify": False}).render(report(tmp_path, ["s"], "markdown", "methods"))
    )
    assert not {"script", "em", "strong", "s", "del", "a"} & set(page.tags)
    assert page.tags.count("tr") == 2 + len(HOSTILE)
    text = "".join(page.texts)
    for name in HOSTILE:
        assert name in text


def test_latex_compiles(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    hostile(tmp_path)
    for seed in (1, 2):
        add(tmp_path, f"seed{seed}", spoiled(0.2, seed), {"name": "x"}, key=key({"name": "x"}, settings__seed=seed))
    everything(tmp_path)
    body = report(tmp_path, ["s"], "latex", "auto")
    packages = "\\usepackage{booktabs}\\usepackage{graphicx}"
    source = f"\\documentclass{{article}}{packages}\\begin{{document}}\n{body}\\end{{document}}\n"
    (tmp_path / "t.tex").write_text(source)
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 1000


def test_json_and_parquet_are_the_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile(tmp_path)
    lines = json.loads(report(tmp_path, ["s"], "json", "auto"))
    assert [line["label"] for line in lines] == ["zero shot", *HOSTILE]
    assert lines[0]["rank"] is None
    target = tmp_path / "t.parquet"
    assert main(["s", "--results", str(tmp_path), "--format", "parquet", "--output", str(target)]) == 0
    frame = pd.read_parquet(target)
    assert list(frame["label"]) == ["zero shot", *HOSTILE]
    assert frame["bleu"].tolist() == [line["bleu"] for line in lines]
    assert main(["s", "--results", str(tmp_path), "--format", "parquet"]) == 2
    assert "--output" in capsys.readouterr().err


# Bad inputs


def test_two_folders_are_put_together(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for results, name in ((one, "a"), (two, "b")):
        row(results, "zero_shot", right(0.2, 1))
        row(results, name, right(0.7, 2))
        everything(results)
    text = report([one, two], ["s"], "markdown", "methods")
    assert "3 runs: 3 done" in text
    assert report([one, one], ["s"], "csv", "methods") == report(one, ["s"], "csv", "methods")


def test_a_record_that_its_id_does_not_fit_is_a_row_that_says_so(tmp_path: Path) -> None:
    method = {"name": "lora"}
    run = run_id("lora", key(method))
    add(tmp_path, run, spoiled(0.1, 1), method)
    sweep(tmp_path, run)
    assert load_sweep(tmp_path, "s").runs[0].status == "ok"
    path = run_folder(tmp_path, run) / "record.json"
    path.write_text(path.read_text().replace('"steps": 30', '"steps": 31'))
    found = load_sweep(tmp_path, "s").runs[0]
    assert found.status == "unreadable record"
    assert "its settings are not those of the run that its id names" in str(found.problem)


def test_records_of_a_newer_schema_are_rows_beside_the_others(tmp_path: Path) -> None:
    row(tmp_path, "one", right(0.7, 2))
    row(tmp_path, "two", right(0.7, 2))
    everything(tmp_path)
    path = run_folder(tmp_path, "two-0-two") / "record.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 9'))
    assert "written in schema 9" in cells(report(tmp_path, ["s"], "markdown", "methods"), "two")["status"]


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_main_score_that_is_no_number_is_not_ranked(tmp_path: Path, score: float) -> None:
    row(tmp_path, "one", right(0.7, 2))
    row(tmp_path, "two", right(0.5, 3))
    path = run_folder(tmp_path, "two-0-two") / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"quality": {"accuracy": score}}))
    everything(tmp_path)
    text = report(tmp_path, ["s"], "markdown", "methods")
    assert cells(text, "two")["accuracy"].startswith("\N{EM DASH}")
    assert "accuracy is not a finite number" in text


def test_tables_of_failed_runs_say_so(tmp_path: Path) -> None:
    for name in ("one", "two"):
        add(tmp_path, name, None, status="oom", cause="too big", parameters=None, memory=None, throughput=None)
    sweep(tmp_path, "one", "two")
    for form in ("markdown", "latex", "html", "csv", "json"):
        assert "too big" in report(tmp_path, ["s"], form, "auto")
    assert "No run is done" in report(tmp_path, ["s"], "markdown", "auto")
