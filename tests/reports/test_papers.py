"""Published tables: equal to their source, matched with records of ours by hand, and shown in every format."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.compose import compose_settings
from harness.config.sweeps import sweep_names
from harness.errors import UserError
from harness.places import ROOT
from harness.results.folder import read_record
from harness.results.sections import Parameters
from harness.results.sweep_files import write_sweep
from reports.__main__ import main
from reports.commands.table import report as sweep_report
from reports.formats.render import render
from reports.published.files import Paper, paper_names, read_paper
from reports.published.match import counterparts
from reports.published.rates import rate_names
from reports.published.tables import paper_tables
from reports.read.runs import load_sweep
from reports.values.columns import MINUS
from tests.support.command_line import Harness
from tests.support.records import add, key, run_folder
from tests.support.tables import rows_under

SHARED = ROOT.parent / "shared" / "papers"
SOURCES = {
    "houlsby_glue": "houlsby_glue",
    "lora_e2e": "lora_table3_e2e",
    "lora_gpt3": "lora_table4_gpt3",
    "lora_gpt3_rank": "lora_table6_gpt3_rank",
    "lora_rank_ablation": "lora_table_rank_gpt2m_e2e",
    "lora_weight_types": "lora_table5_weight_types",
    "prefix_tuning_e2e": "prefix_tuning_e2e",
    "prompt_tuning_parameters": "prompt_tuning_lester",
    "qlora_datatypes": "qlora_table2_datatypes",
    "qlora_glue_superni": "qlora_table3_glue_superni",
    "qlora_memory": "qlora_memory",
    "qlora_mmlu": "qlora_table4_mmlu",
    "vera_e2e": "vera_e2e",
    "vera_glue": "vera_glue",
    "vera_gpt3_storage": "vera_table1_gpt3_storage",
}
FULL, SCALED = "papers/lora_rank_ablation", "papers/scaled/lora_rank_ablation"
SCORES = {
    "val_loss": 1.5,
    "bleu": 47.0,
    "nist": 6.0,
    "nist_pymteval": 5.5,
    "meteor": 33.0,
    "rouge_l": 57.0,
    "cider": 1.2,
}


def lora(results: Path, rank: int, seed: int, scores: dict[str, float | None] = SCORES, **changed: Any) -> str:
    """A run of the rank ablation as the harness writes it."""
    method = {"name": "lora", "rank": rank, "alpha": 32.0, "lr": 2e-3, "dropout": 0.1}
    given = {key: changed.pop(key) for key in ("status", "cause", "warnings") if key in changed}
    made = key(method, data__name="e2e", settings__seed=seed, **changed)
    run = f"lora-{rank}-{seed}-{abs(hash(str(made))) % 10**6}"
    add(results, run, None, method, key=made, quality=scores, label=f"lora r={rank}", test_examples=100, **given)
    return run


def ablation(results: Path, name: str, *runs: str) -> None:
    labels = {run: read_record(run_folder(results, run) / "record.json").label for run in runs}
    write_sweep(results, name, "How large?", [{"id": run, "label": labels[run], "overrides": ""} for run in runs])


def shown(results: Path, name: str, *sweeps: str) -> str:
    return render(paper_tables(read_paper(name), name, [load_sweep(results, sweep) for sweep in sweeps]), "markdown")


# The figures


@pytest.mark.parametrize("name", paper_names())
def test_every_published_figure_is_that_of_its_source(name: str) -> None:
    source = SHARED / f"{SOURCES[name]}.yaml"
    if not source.is_file():
        pytest.skip(f"{source} is not there")
    theirs, ours = yaml.safe_load(source.read_text(encoding="utf-8")), read_paper(name)
    for field in ("paper", "arxiv", "table", "model", "dataset", "provenance"):
        assert getattr(ours, field) == theirs[field]
    assert list(ours.columns) == theirs["columns"]
    # Written without quotes, "qualitative: abstract" is a mapping there.
    cells = [[": ".join(next(iter(c.items()))) if isinstance(c, dict) else c for c in row] for row in theirs["rows"]]
    checked = [row for row in cells if not any("unverified" in str(cell) for cell in row)]
    computed_alone = [list(row.values) for row in ours.rows if set(row.values[1:]) == {None}]
    assert [list(row.values) for row in ours.rows if list(row.values) not in computed_alone] == checked
    assert set(theirs.get("notes", ())) <= set(ours.notes)
    assert ours.second_hand == ("VeRA" in theirs["paper"])


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not there")
def test_every_source_is_a_table_here() -> None:
    assert {path.stem for path in SHARED.glob("*.yaml")} == set(SOURCES.values())
    assert sorted(SOURCES) == paper_names()


def counts(name: str) -> list[tuple[str, float]]:
    paper = read_paper(name)
    return [(str(row.values), formula.value) for row in paper.rows for formula in row.formulas.values()]


def gpt2(layers: int, width: int) -> int:
    """Parameters of GPT-2: two normalizations, attention and an MLP of four times the width in each block."""
    block = (
        2 * 2 * width
        + (3 * width + 3) * width
        + (width + 1) * width
        + (width + 1) * 4 * width
        + (4 * width + 1) * width
    )
    return layers * block + (50257 + 1024) * width + 2 * width


def test_computed_counts_by_closed_forms() -> None:
    medium, large = gpt2(24, 1024), gpt2(36, 1280)
    assert (medium, large) == (354_823_168, 774_030_080)  # transformers counts the same
    top = gpt2(26, 1024) - medium
    assert [value for _, value in counts("lora_e2e")] == [medium, top, 393_216, large, 737_280]
    assert [value for _, value in counts("vera_e2e")] == [medium, 393_216, 98_304, large, 737_280, 165_888]
    assert [value for _, value in counts("vera_glue")] == [294_912, 43_008, 786_432, 61_440]  # as the sources count
    lora_gpt3 = 96 * 2 * 16 * (12288 + 12288)
    vera_gpt3 = 96 * 2 * (12288 + 16)
    expected = [lora_gpt3, lora_gpt3 * 32 / 8 / 2**20, vera_gpt3, vera_gpt3 * 32 / 8 / 2**20]
    assert [value for _, value in counts("vera_gpt3_storage")] == pytest.approx(expected)


def test_memory_by_closed_forms() -> None:
    """Section 3 of QLoRA: 0.5 and 0.127 bits a parameter, 0.373 saved, 3 GB of 65B; 12 bytes a parameter are 780 GB."""
    saved = 0.5 - 0.126953125
    values = [value for _, value in counts("qlora_memory")]
    assert values[0] == 65 * 12 == 780
    assert values[1] == pytest.approx(65 * (4 + 0.126953125) / 8)
    assert values[1] < 48
    assert values[2:5] == [0.5, 0.126953125, saved]
    assert values[5] == pytest.approx(65 * saved / 8) == pytest.approx(3.03, abs=0.005)


def test_prompts_by_closed_forms() -> None:
    (_, prompt), (_, reduction), *shares = counts("prompt_tuning_parameters")
    assert prompt == 20_480
    assert reduction == 11e9 / 20_480 > 10**5
    percent = [share for _, share in shares]
    assert percent == sorted(percent, reverse=True)  # the larger the model, the smaller the share
    assert percent[0] == pytest.approx(100 * 2560 / 77_000_000)
    assert percent[-1] == pytest.approx(100 / reduction)


# Ours beside them


def test_rows_are_matched_by_the_key_and_units_are_converted(tmp_path: Path) -> None:
    """By hand: BLEU 46, 47, 51 have the mean 48 and the deviation sqrt((4 + 1 + 9) / 2) = 2.65."""
    runs = [lora(tmp_path, 4, seed, SCORES | {"bleu": bleu}) for seed, bleu in enumerate([46.0, 47.0, 51.0])]
    other = [
        lora(tmp_path, 4, 0, settings__roles=["q"]),
        lora(tmp_path, 4, 0, settings__method={"name": "rslora", "rank": 4, "alpha": 32.0}),
    ]
    ablation(tmp_path, SCALED, *runs, *other, lora(tmp_path, 1024, 0))
    text = shown(tmp_path, "lora_rank_ablation", SCALED)
    bleu = rows_under(text, "lora_rank_ablation: BLEU")
    assert [row["r"] for row in bleu] == ["1", "2", "4", "8", "16", "32", "64", "128", "256", "512", "1024"]
    four = bleu[2]
    assert (four["published"], four["ours"], four["seeds"]) == ("70.38", "48.00 ± 2.65", "3")
    assert four["ours less published"] == f"{MINUS}22.38"
    # Without predictions the interval is over seeds alone: 48 ± 4.3027 · 2.6458 / sqrt(3).
    assert four["95% interval"].startswith("[41.43, 54.57]")
    assert "interval over seeds alone: there is no predictions.jsonl" in text

    # The paper's METEOR of 0.4689 is 46.89 here, and 33 is 13.89 less; NIST is pymteval's.
    meteor = rows_under(text, "lora_rank_ablation: METEOR")[2]
    assert (meteor["published"], meteor["ours less published"]) == ("46.89", f"{MINUS}13.89")
    assert "Published values times 100: the unit of our records." in text
    nist = rows_under(text, "lora_rank_ablation: NIST (pymteval)")[2]
    assert (nist["published"], nist["ours"]) == ("8.844", "5.500 ± 0.000")
    assert rows_under(text, "lora_rank_ablation: ROUGE_L")[2]["ours less published"] == f"{MINUS}14.86"
    assert rows_under(text, "lora_rank_ablation: CIDEr")[2]["ours less published"] == f"{MINUS}1.335"
    assert rows_under(text, "lora_rank_ablation: val_loss (validation loss)")[2]["ours less published"] == "+0.320"


def test_what_differs_is_told_from_the_records(tmp_path: Path) -> None:
    ablation(tmp_path, SCALED, lora(tmp_path, 4, 0))
    text = shown(tmp_path, "lora_rank_ablation", SCALED)
    settings = {
        row["setting"]: (row["published"], row[SCALED]) for row in rows_under(text, "lora_rank_ablation: protocol")
    }
    assert settings["model.name"] == ("openai-community/gpt2-medium", "tiny")
    assert settings["train.steps"] == ("26000", "30")
    assert settings["eval.beams"] == ("10", "1")
    assert settings["method.lr"] == ("0.0002", "0.002")
    assert settings["test_examples"] == ("630", "100")
    assert settings["seeds"] == ("not known", "1")
    assert not {"method.alpha", "data.name"} & settings.keys()
    assert re.search(r"Equal: data.name, train.batch_size, train.optimizer, method.alpha, method.dropout", text)


def test_two_bases_never_mix_in_a_row(tmp_path: Path) -> None:
    large = {"name": "openai-community/gpt2-medium"}
    full = [lora(tmp_path, 4, seed, SCORES | {"bleu": 70.0}, model=large) for seed in (0, 1)]
    mixed = [lora(tmp_path, 4, seed) for seed in (0, 1)]
    ablation(tmp_path, FULL, *full, *mixed)
    ablation(tmp_path, SCALED, lora(tmp_path, 4, 2))
    bleu = rows_under(shown(tmp_path, "lora_rank_ablation", FULL, SCALED), "lora_rank_ablation: BLEU")
    fours = [(row["run"], row["ours"], row["seeds"]) for row in bleu if row["r"] == "4"]
    assert fours == [
        (f"{FULL}: lora r=4, model.name openai-community/gpt2-medium", "70.00 ± 0.00", "2"),
        (f"{FULL}: lora r=4, model.name tiny", "47.00 ± 0.00", "2"),
        (f"{SCALED}: lora r=4", "47.00", "1"),
    ]


def test_a_row_without_a_run_says_how_to_make_it(tmp_path: Path) -> None:
    text = shown(tmp_path, "lora_rank_ablation")
    bleu = rows_under(text, "lora_rank_ablation: BLEU")
    assert {row["ours"] for row in bleu} == {"— [1]"}
    assert text.count("- [1] not run: python -m harness +sweep=papers/lora_rank_ablation data.path=FOLDER") == 6
    assert "no counterpart: the sweep is of GPT-2 Medium" in shown(tmp_path, "lora_e2e")


def test_failed_runs_warnings_and_missing_scores_are_told(tmp_path: Path) -> None:
    warned = lora(tmp_path, 1024, 0, warnings=["method.rank=1024 is above the smaller side of v (192)"])
    oom = lora(tmp_path, 1, 0, status="oom", cause="out of memory")
    nan = lora(tmp_path, 2, 0, SCORES | {"bleu": float("nan"), "meteor": None})
    ablation(tmp_path, SCALED, warned, oom, nan)
    text = shown(tmp_path, "lora_rank_ablation", SCALED)
    bleu = {row["r"]: row["ours"] for row in rows_under(text, "lora_rank_ablation: BLEU")}
    notes = dict(re.findall(r"^- \[(\d)\] (.*)$", text[text.index("ablation: BLEU") :], re.M))

    def note(cell: str) -> str:
        return notes[re.findall(r"\[(\d)\]", cell)[-1]]

    assert note(bleu["1024"]).startswith("method.rank=1024 is above the smaller side")
    assert note(bleu["1"]) == "lora r=1: oom: out of memory"
    assert bleu["2"].startswith("—")
    assert "] no finite number (nan)" in text
    assert "nan" not in bleu["2"]


def test_no_difference_across_tasks(tmp_path: Path) -> None:
    method = {"name": "zero_shot"}
    quantized = {"kind": "nf4", "double": True}
    made = key(method, data__name="wikitext", settings__quantization=quantized)
    add(tmp_path, "q", None, method, key=made, quality={"perplexity": 20.0, "word_perplexity": 50.0})
    ablation(tmp_path, "papers/scaled/qlora_datatypes", "q")
    text = shown(tmp_path, "qlora_datatypes", "papers/scaled/qlora_datatypes")
    row = rows_under(text, "qlora_datatypes: mean_PPL (perplexity)")[3]
    assert (row["data_type"], row["published"], row["ours"]) == ("NFloat4 + DQ", "27.41", "20.00")
    assert row["ours less published"].startswith("— [")
    assert "other data: published on Pile Common Crawl, ours on wikitext" in text
    assert rows_under(text, "qlora_datatypes: word_perplexity")[3]["ours"] == "50.00"


def test_counts_printed_computed_and_recorded_stand_together(tmp_path: Path) -> None:
    method = {"name": "lora", "rank": 4, "alpha": 32.0}
    parameters = Parameters(trainable=393_216, added=393_216, total=355_216_384, adapter_bytes=0, full_copy_bytes=1)
    add(tmp_path, "a", None, method, key=key(method, data__name="e2e"), parameters=parameters, quality=SCORES)
    ablation(tmp_path, "papers/lora_e2e", "a")
    row = rows_under(shown(tmp_path, "lora_e2e", "papers/lora_e2e"), "lora_e2e: counts")[6]
    assert (row["printed"], row["computed"], row["ours"]) == ("0.35M", "393,216 parameters", "393,216")
    bleu = rows_under(shown(tmp_path, "lora_e2e", "papers/lora_e2e"), "lora_e2e: BLEU")[6]
    assert bleu["published"] == "70.40 ± 0.10"


@pytest.mark.parametrize("name", [name for name in paper_names() if name.startswith("vera")])
def test_second_hand_tables_say_so(name: str, tmp_path: Path) -> None:
    assert "Second hand: not checked in the paper itself." in shown(tmp_path, name)
    assert "second hand" in read_paper(name).title


def test_what_nothing_measures_is_said_not_to_be_measured(tmp_path: Path) -> None:
    text = shown(tmp_path, "qlora_memory")
    told = [row["ours"] for row in rows_under(text, "qlora_memory: counts")]
    assert told == ["— [1]", "— [1]", "— [2]", "— [2]", "— [2]", "— [1]"]
    assert "[1] no counterpart: not yet measured" in text


# The files and their sweeps


@pytest.mark.parametrize("name", paper_names())
def test_every_table_has_its_sweeps_and_renders(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(read_paper(name).sweeps()) <= set(sweep_names())
    for form in ("markdown", "csv", "json", "latex", "html"):
        assert main(["paper", name, "--results", str(tmp_path), "--format", form]) == 0
        said = capsys.readouterr().out
        assert said.strip()
        if form == "csv":
            assert len(list(csv.DictReader(io.StringIO(said)))) >= len(read_paper(name).rows)


OTHERS = {"papers/peft_metamathqa"}  # tests/memory/test_metamathqa.py


@pytest.mark.parametrize("name", [name for name in sweep_names() if name.startswith("papers/") and name not in OTHERS])
def test_each_sweep_has_both_scales(name: str) -> None:
    other = (
        name.replace("papers/scaled/", "papers/") if "scaled/" in name else name.replace("papers/", "papers/scaled/")
    )
    assert other in sweep_names()


ON_E2E = [name for name in paper_names() if read_paper(name).data and name != "qlora_datatypes"]


MATCHED = [sweep for name in ON_E2E for sweep in read_paper(name).sweeps()]


def write_e2e(folder: Path) -> None:
    """A data set of one pair a split, in E2E's files."""
    for name in ("trainset", "devset", "testset_w_refs"):
        (folder / f"{name}.csv").write_text(f'mr,ref\n"name[The {name}]","The {name} is a place."\n')


@pytest.mark.parametrize(
    "sweep", [n for n in sweep_names() if n.startswith("papers/") and n not in {*MATCHED, *OTHERS}]
)
def test_the_other_sweeps_compose(sweep: str, harness: Harness, tmp_path: Path) -> None:
    write_e2e(tmp_path)
    for split in ("train", "valid", "test"):
        (tmp_path / f"wiki.{split}.raw").write_text(f" = A title = \n \n The text of {split} . \n")
    dry = harness(f"+sweep={sweep}", "--dry-run", f"data.path={tmp_path}", small=())
    assert dry.returncode == 0, dry.stderr


@pytest.mark.parametrize("sweep", MATCHED)
def test_every_row_that_has_a_counterpart_finds_it_in_the_sweep(sweep: str, harness: Harness, tmp_path: Path) -> None:
    """By the harness's own keys of the sweep's points: what a table asks for is what its sweep makes, once."""
    write_e2e(tmp_path)
    given = [f"data.path={tmp_path}", "seed=0", "tracker=none"]
    dry = harness(f"+sweep={sweep}", "--dry-run", *given, small=())
    assert dry.returncode == 0, dry.stderr
    runs = []
    for line in dry.stdout.splitlines()[:-1]:
        settings = compose_settings(line[line.index("+preset=") :].split())
        made, run = settings.key(), line.split()[2]
        add(
            harness.results,
            run,
            None,
            made["settings"]["method"],
            key=made,
            quality=SCORES,
            label=settings.label(),
        )
        runs.append(run)
    ablation(harness.results, sweep, *runs)
    paper = read_paper(sweep.rpartition("/")[2])
    found = [counterparts(paper, row, [load_sweep(harness.results, sweep)]) for row in paper.rows]
    # The scaled ablation leaves five of the eleven ranks out.
    left_out = {2, 8, 32, 128, 512} if sweep == SCALED else set()
    expected = [int(row.match is not None and row.values[0] not in left_out) for row in paper.rows]
    assert [len(each) for each in found] == expected


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == sorted([*paper_names(), *rate_names()])

    assert main(["paper", "lora_rank_ablaton", "--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "error: paper lora_rank_ablaton: no such table; did you mean lora_rank_ablation?\n"
    )
    assert main(["paper", "lora_e2e", "--results", str(tmp_path), "--sweep", "nope"]) == 2
    assert "no such sweep" in capsys.readouterr().err

    ablation(tmp_path, SCALED, lora(tmp_path, 4, 0))
    output = tmp_path / "table.md"
    assert main(["paper", "lora_rank_ablation", "--results", str(tmp_path), "--output", str(output)]) == 0
    assert "47.00" in output.read_text()
    assert SCALED in sweep_report(tmp_path, [], "markdown", "auto")  # a sweep in a folder is listed too


def test_a_truncated_record_is_a_warning_and_no_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [lora(tmp_path, rank, 0) for rank in (4, 16)]
    ablation(tmp_path, SCALED, *runs)
    path = run_folder(tmp_path, runs[0]) / "record.json"
    path.write_text(path.read_text()[:100])
    assert main(["paper", "lora_rank_ablation", "--results", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "not a whole record" in said.err
    bleu = {row["r"]: row["ours"] for row in rows_under(said.out, "lora_rank_ablation: BLEU")}
    assert (bleu["4"][0], bleu["16"]) == ("—", "47.00")


def test_a_file_that_does_not_fit_is_refused() -> None:
    content = yaml.safe_load((ROOT / "reports/papers/vera_gpt3_storage.yaml").read_text())
    content["rows"][0]["values"].pop()
    with pytest.raises(ValueError, match="rows of another width"):
        Paper.model_validate(content)
    with pytest.raises(UserError, match="choose from"):
        read_paper("../conf")
