"""Tables of a sweep: hand-computed values, sacrebleu as the witness of BLEU, and properties of intervals and marks."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.results.lm_eval import LmEvalTask
from harness.results.sections import Forgetting, Memory
from reports.__main__ import main
from reports.commands.table import report
from reports.formats.render import latex, markdown
from reports.read.runs import load_sweep
from reports.statistics.verdicts import BASE, BEST, STILL, TIED, WORSE, compare
from reports.tables.rank import rank_groups
from reports.values.columns import byte_unit, signed, written
from reports.values.frame import tidy
from tests.support.records import (
    EXAMPLES,
    add,
    add_base,
    cells,
    corpus_bleu,
    key,
    run_folder,
    spoiled,
    sweep,
    words,
)

# Verdicts


def test_rows_are_best_tied_unmoved_or_below_the_base(tmp_path: Path) -> None:
    base = spoiled(0.5, seed=2)
    good = spoiled(0.1, seed=6)
    add_base(tmp_path, base)
    add(tmp_path, "good", good)
    add(tmp_path, "twin", good)
    add(tmp_path, "middling", spoiled(0.35, seed=7))
    add(tmp_path, "still", [*base[:-1], base[-1] + " pub"])
    add(tmp_path, "worse", spoiled(0.95, seed=8))
    sweep(tmp_path, "zero_shot", "still", "middling", "good", "twin", "worse")
    assert words(tmp_path) == {
        "zero_shot": BASE, "still": STILL, "middling": "", "good": BEST, "twin": TIED, "worse": WORSE,
    }  # fmt: skip
    compared = compare(load_sweep(tmp_path, "s"))
    change = compared.verdicts["good"].change
    assert change == pytest.approx(corpus_bleu(good) - corpus_bleu(base))
    interval = compared.verdicts["good"].interval
    assert interval is not None
    assert change is not None
    assert 0 < interval.low < change < interval.high
    text = report(tmp_path, ["s"], "markdown", "auto")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert rows[2:] == ["zero_shot", "still", "middling", "good", "twin", "worse"]
    assert f"{corpus_bleu([*base[:-1], base[-1] + ' pub']):.2f} †" in text
    assert "† did not move: " in text
    assert "one seed (0)" in text
    assert f"of the {EXAMPLES} test examples" in text


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("data__sha256", "other", "data.sha256 (0123456789ab: zero_shot, one; other: two)"),
        ("settings__train__steps", 60, "settings.train.steps (30: one; 60: two)"),
        ("settings__train__batch_size", 4, "settings.train.batch_size (8: one; 4: two)"),
        ("settings__eval__beams", 4, "settings.eval.beams"),
        ("environment__versions", {"torch": "2.8.0", "peft": None}, "environment.versions.torch"),
        ("environment", {}, "environment.versions.torch"),
        ("settings__seed", 1, "settings.seed (0: one; 1: two)"),
        ("repeat", 1, "repeat (0: zero_shot, one; 1: two)"),
    ],
)
def test_rows_that_differ_in_more_than_the_method_are_not_ranked(
    tmp_path: Path, path: str, value: Any, shown: str
) -> None:
    add_base(tmp_path)
    add(tmp_path, "one", spoiled(0.2, seed=6))
    add(tmp_path, "two", spoiled(0.1, seed=7), key=key({"name": "two"}, **{path: value}))
    sweep(tmp_path, "zero_shot", "one", "two")
    assert not {BEST, TIED} & set(words(tmp_path).values())
    text = report(tmp_path, ["s"], "markdown", "auto").replace("\\", "")
    assert "Not ranked, since the rows differ in more than the table is about: " in text
    assert shown in text


def test_method_targets_quantization_and_optimizer_may_differ(tmp_path: Path) -> None:
    add_base(tmp_path)
    add(tmp_path, "one", spoiled(0.1, seed=6))
    other = key({"name": "two", "rank": 4}, settings__roles=["up"], settings__train__optimizer="paged_adamw8bit")
    add(tmp_path, "two", spoiled(0.3, seed=7), key=other)
    sweep(tmp_path, "zero_shot", "one", "two")
    assert words(tmp_path) == {"zero_shot": BASE, "one": BEST, "two": ""}
    assert "paged_adamw8bit" in report(tmp_path, ["s"], "markdown", "auto")


def test_one_row_beside_the_base_is_not_called_the_best(tmp_path: Path) -> None:
    add_base(tmp_path)
    add(tmp_path, "one", spoiled(0.1, seed=6))
    sweep(tmp_path, "zero_shot", "one")
    assert words(tmp_path) == {"zero_shot": BASE, "one": ""}


def test_a_row_is_compared_only_with_a_base_that_is_quantized_like_it(tmp_path: Path) -> None:
    add_base(tmp_path)
    four_bit = key({"name": "lora"}, settings__quantization={"kind": "nf4", "double": False})
    add(tmp_path, "lora", spoiled(0.1, seed=6), key=four_bit)
    sweep(tmp_path, "zero_shot", "lora")
    verdict = compare(load_sweep(tmp_path, "s")).verdicts["lora"]
    assert verdict.interval is None
    assert verdict.unknown is not None
    assert "same base" in verdict.unknown


def test_without_a_zero_shot_row_the_change_has_no_interval(tmp_path: Path) -> None:
    texts = spoiled(0.1, seed=6)
    add(tmp_path, "lora", texts, base_quality={"bleu": 5.0})
    add(tmp_path, "other", spoiled(0.6, seed=7), base_quality={"bleu": 5.0})
    sweep(tmp_path, "lora", "other")
    verdict = compare(load_sweep(tmp_path, "s")).verdicts["lora"]
    assert verdict.change == pytest.approx(corpus_bleu(texts) - 5.0)
    assert verdict.interval is None
    text = report(tmp_path, ["s"], "markdown", "auto")
    assert f"+{corpus_bleu(texts) - 5.0:.2f} [1]" in text
    assert "- [1] interval not known: the sweep has no finished zero-shot row" in text
    assert "best: highest BLEU of the rows that are not known to have stayed where the base is." in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no predictions.jsonl"),
        ("{", "not readable"),
        ('{"bleu": [1]}\n', "without 'index'"),
        ('{"index": 0}\n', "no bleu of each example"),
        ('{"index": 0, "bleu": [1, 2]}\n', "does not hold the statistics of bleu"),
        ('{"index": 0, "bleu": [1]}\n{"index": 1, "bleu": [1, 2]}\n', "no bleu of each example"),
        ("", "is empty"),
        ('{"index": 0, "bleu": [9, 9, 9, 8, 7, 6, 9, 8, 7, 6]}\n', "gives bleu 100.00, the record says"),
        ('{"index": 0, "bleu": []}\n{"index": 0, "bleu": []}\n', "an example twice"),
    ],
)
def test_unusable_predictions_leave_a_row_unranked_and_say_why(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    add_base(tmp_path)
    add(tmp_path, "lora", spoiled(0.1, seed=6))
    path = run_folder(tmp_path, "lora") / "predictions.jsonl"
    path.unlink()
    if content is not None:
        path.write_text(content)
    sweep(tmp_path, "zero_shot", "lora")
    verdict = compare(load_sweep(tmp_path, "s")).verdicts["lora"]
    assert verdict.word == ""
    assert verdict.unknown is not None
    assert reason in verdict.unknown
    assert reason in report(tmp_path, ["s"], "markdown", "auto")


def test_cells_have_the_units_of_their_headings(tmp_path: Path) -> None:
    before_after = {"loss_before": 3.0, "loss_after": 3.25, "kl": 0.0625, "panel_before": 0.5, "panel_after": 0.25}
    changed = {"panel_items": 32, "panel_lost": 10, "panel_gained": 2, "agreement": 0.875}
    forgotten = Forgetting(text="wiki", tokens=100, panel_by_task={}, **before_after, **changed)
    add_base(tmp_path)
    add(tmp_path, "lora", spoiled(0.1, seed=6), forgetting=forgotten)
    sweep(tmp_path, "zero_shot", "lora")
    row = cells(report(tmp_path, ["s"], "markdown", "auto"), "lora")
    assert row["learning rate"] == "0.001"
    assert row["trainable parameters"] == "1,234,567"
    assert row["share [% of total]"] == "1.23"
    assert row["on disk [MB]"] == "4.9"
    assert row["training memory growth [MiB]"] == "3.00"
    assert row["training [tokens/s]"] == "180"
    assert row["validation loss [nats/token]"] == "1.234"
    assert row["ROUGE-L"] == "55.55" or row["ROUGE-L"] == "55.56"
    assert row["general text: change of loss [nats/token]"] == "+0.250"
    assert row["KL from base [nats/token]"] == "0.062"
    assert row["next-token agreement"] == "0.875"
    assert row["panel: change of share right"] == "\N{MINUS SIGN}0.250"
    assert row["panel: lost [items]"] == "10"
    assert row["panel: gained [items]"] == "2"
    assert row["wall time [s]"] == "61.5"


def test_tasks_of_lm_eval_have_a_column_each(tmp_path: Path) -> None:
    metrics = {"acc,none": 0.25, "exact_match,strict-match": 0.5}
    task = LmEvalTask(examples=4, before=metrics, after=metrics, right="acc", lost=0, gained=0)
    add_base(tmp_path)
    add(tmp_path, "lora", spoiled(0.1, seed=6), lm_eval={"arc": task})
    sweep(tmp_path, "zero_shot", "lora")
    shown = report(tmp_path, ["s"], "markdown", "auto")
    assert cells(shown, "lora")["arc acc"] == "0.250"
    assert cells(shown, "lora")["arc exact_match,strict-match"] == "0.500"
    assert cells(shown, "zero_shot")["arc acc"].startswith("\N{EM DASH}")


def test_a_group_of_lm_eval_has_its_mean_and_notes_say_how_it_was_asked(tmp_path: Path) -> None:
    def task(examples: int, acc: float, **more: Any) -> LmEvalTask:
        metrics = {"acc,none": acc}
        counts: dict[str, Any] = {"right": "acc", "lost": 0, "gained": 0, "chat_template": True}
        return LmEvalTask(examples=examples, before=metrics, after=metrics, **counts | more)

    parts = {"mmlu_a": task(1000, 0.5, num_fewshot=5, cut=0), "mmlu_b": task(1000, 0.75, num_fewshot=5, cut=7)}
    group = {"mmlu": task(2000, 0.625, num_fewshot=5, cut=7, tasks=parts)}
    add_base(tmp_path)
    for name in ("lora", "full"):
        add(tmp_path, name, spoiled(0.1, seed=6), lm_eval=group)
    sweep(tmp_path, "zero_shot", "lora", "full")
    shown = report(tmp_path, ["s"], "markdown", "auto")
    assert cells(shown, "lora")["mmlu acc"] == "0.625"
    assert "mmlu_a" not in shown
    assert "mmlu 5-shot (2,000 examples); asked by the model's chat template.\n" in shown
    assert "too long for the model, so that they lost their beginning: 7 of mmlu.\n" in shown
    add(tmp_path, "full", spoiled(0.1, seed=6), lm_eval={"mmlu": group["mmlu"].model_copy(update={"cut": 0})})
    assert "beginning: 7 of mmlu. So lora." in report(tmp_path, ["s"], "markdown", "auto")


def test_runs_on_a_gpu_show_cuda_memory_and_runs_on_a_cpu_resident_memory(tmp_path: Path) -> None:
    add_base(tmp_path)
    add(tmp_path, "gpu", spoiled(0.1, seed=6), memory=Memory(train_cuda_allocated=2**31, evaluate_cuda_allocated=2**30))
    sweep(tmp_path, "gpu")
    row = cells(report(tmp_path, ["s"], "markdown", "auto"), "gpu")
    assert row["training peak CUDA [GiB]"] == "2.00"
    assert not any("memory growth" in heading for heading in row)
    sweep(tmp_path, "zero_shot", "gpu")
    assert {"training peak CUDA [GiB]", "training memory growth [MiB]"} <= set(
        cells(report(tmp_path, ["s"], "markdown", "auto"), "gpu")
    )


def test_failed_missing_and_unreadable_runs_are_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_base(tmp_path)
    add(tmp_path, "full", None, status="oom", cause="needs 9 GiB | has 8", step=3, parameters=None, memory=None)
    broken = run_folder(tmp_path, "broken") / "record.json"
    broken.parent.mkdir()
    broken.write_text('{"id": ')
    sweep(tmp_path, "zero_shot", "full", "later", "broken")
    assert main(["s", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert cells(shown.out, "full")["status"] == "oom at step 3: needs 9 GiB \\| has 8"
    assert cells(shown.out, "full")["trainable parameters"] == "\N{EM DASH}"
    assert cells(shown.out, "later")["status"] == "not run"
    assert cells(shown.out, "broken")["status"].startswith("unreadable record: ")
    assert "4 runs: 1 done, 2 failed, 1 missing." in shown.out
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("warning: ")
    assert "broken" in shown.err


def test_a_missing_value_is_a_dash_with_the_reason_of_the_record(tmp_path: Path) -> None:
    add_base(tmp_path)
    add(tmp_path, "lora", spoiled(0.1, seed=6), throughput=None, null_reasons={"throughput": "fewer than 3 steps"})
    sweep(tmp_path, "zero_shot", "lora")
    text = report(tmp_path, ["s"], "markdown", "auto")
    assert cells(text, "lora")["training [tokens/s]"] == "\N{EM DASH} [2]"
    assert "- [2] fewer than 3 steps" in text
    assert "general text: change of loss (not recorded)" in text


def test_a_nan_is_missing_and_said_to_be_one(tmp_path: Path) -> None:
    add_base(tmp_path)
    record = add(tmp_path, "lora", spoiled(0.1, seed=6))
    path = run_folder(tmp_path, "lora") / "record.json"
    path.write_text(json.dumps(record.model_dump() | {"quality": record.quality | {"val_loss": math.nan}}))
    sweep(tmp_path, "zero_shot", "lora")
    text = report(tmp_path, ["s"], "markdown", "auto")
    assert cells(text, "lora")["validation loss [nats/token]"].startswith("\N{EM DASH}")
    assert "val_loss is not a finite number (nan)" in text


def test_protocol_and_references_are_told(tmp_path: Path) -> None:
    add_base(tmp_path)
    add(
        tmp_path, "lora", spoiled(0.1, seed=6), base_quality={"bleu": 5.5, "val_loss": 3.0}, warnings=["tracker failed"]
    )
    sweep(tmp_path, "zero_shot", "lora")
    text = report(tmp_path, ["s"], "markdown", "auto")
    for said in (
        "What does it cost?",
        "Base model: a tiny model.",
        "Data: restaurants (sha256 0123456789ab).",
        "30 steps of 8 examples.",
        f"Scored on {EXAMPLES} test examples; evaluation: test_examples {EXAMPLES}, beams 1, max_new_tokens 64.",
        "torch 2.9.0; cpu: a CPU, threads: 2.",
        "Without a model: join_slots BLEU 23.40, best_constant BLEU 12.00.",
        "The untouched base (rows lora): BLEU 5.50, validation loss 3.000.",
        "lora: tracker failed",
    ):
        assert said in text
    assert "peft" not in text


def test_answers_without_a_model_are_told_with_the_score_of_their_task(tmp_path: Path) -> None:
    told = {"one/best_constant": 12.0, "two/most_frequent_class": 0.25}
    add(tmp_path, "lora", spoiled(0.1, seed=6), baselines=told)
    sweep(tmp_path, "lora")
    said = "Without a model: one/best_constant BLEU 12.00, two/most_frequent_class accuracy 0.250."
    assert said in report(tmp_path, ["s"], "markdown", "auto")


def test_a_key_without_the_usual_fields_is_reported_all_the_same(tmp_path: Path) -> None:
    add(tmp_path, "lora", spoiled(0.1, seed=6), key={})
    sweep(tmp_path, "lora")
    for form in ("markdown", "csv", "latex"):
        assert "lora" in report(tmp_path, ["s"], form, "auto")


# Ranks


def add_ranks(results: Path, ranks: Sequence[int], **method: Any) -> list[str]:
    """LoRA rows that differ in rank; a callable setting is computed from it."""
    names = []
    for rank in ranks:
        settings = {name: value(rank) if callable(value) else value for name, value in method.items()}
        names.append(f"r{rank}")
        add(results, names[-1], spoiled(0.4 / rank, seed=rank), {"name": "lora", "rank": rank, **settings})
    return names


@pytest.mark.parametrize("alpha", [16.0, lambda rank: 2.0 * rank])
def test_three_rows_that_differ_only_in_rank_make_a_table_of_ranks(tmp_path: Path, alpha: Any) -> None:
    add_base(tmp_path)
    names = add_ranks(tmp_path, (1, 2, 4), alpha=alpha, lr=1e-3)
    sweep(tmp_path, "zero_shot", *names)
    assert [[run.id for run in runs] for runs in rank_groups(load_sweep(tmp_path, "s"))] == [names]
    text = report(tmp_path, ["s"], "markdown", "rank")
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:] == ["1", "2", "4"]
    assert report(tmp_path, ["s"], "markdown", "auto").count("## s: ") == 2


def test_rows_that_differ_in_more_than_rank_make_no_table_of_ranks(tmp_path: Path) -> None:
    names = add_ranks(tmp_path, (1, 2, 4), lr=lambda rank: rank * 1e-3)
    sweep(tmp_path, *names)
    assert rank_groups(load_sweep(tmp_path, "s")) == []
    assert report(tmp_path, ["s"], "markdown", "auto").count("## s: ") == 1
    with pytest.raises(UserError, match="--table methods"):
        report(tmp_path, ["s"], "markdown", "rank")


# Formats


def test_csv_has_one_line_a_run_with_the_raw_numbers(tmp_path: Path) -> None:
    texts = spoiled(0.1, seed=6)
    add_base(tmp_path)
    names = add_ranks(tmp_path, (1, 2, 4))
    add(tmp_path, "full", None, status="diverged", cause='loss, is "nan"', step=7)
    add(tmp_path, "lora", texts)
    sweep(tmp_path, "zero_shot", *names, "full", "lora", "later")
    rows = {row["run_id"]: row for row in csv.DictReader(io.StringIO(report(tmp_path, ["s"], "csv", "auto")))}
    assert list(rows) == ["zero_shot", *names, "full", "lora", "later"]
    assert float(rows["lora"]["bleu"]) == corpus_bleu(texts)
    assert rows["lora"]["adapter_bytes"] == "4938268"
    assert rows["lora"]["total_seconds"] == "61.5"
    assert rows["r2"]["rank"] == "2"
    assert rows["lora"]["rank"] == ""
    assert (rows["full"]["step"], rows["zero_shot"]["repeat"]) == ("7", "0")
    assert (rows["full"]["status"], rows["full"]["cause"]) == ("diverged", 'loss, is "nan"')
    assert rows["later"]["status"] == "not run"
    assert rows["later"]["bleu"] == ""
    assert len(report(tmp_path, ["s"], "csv", "auto").splitlines()) == 8


def test_the_frame_keeps_whole_numbers_whole(tmp_path: Path) -> None:
    add(tmp_path, "lora", spoiled(0.1, seed=6))
    sweep(tmp_path, "lora", "later")
    loaded = load_sweep(tmp_path, "s")
    frame = tidy(loaded, compare(loaded))
    assert frame.loc["lora", "trainable_parameters"] == 1234567
    assert frame["trainable_parameters"].dtype == "Int64"
    assert frame.loc["lora", "trainable_percent_of_total"] == pytest.approx(1.234567)


def test_special_characters_stand_for_themselves() -> None:
    assert markdown("a|b\\c\nd*e") == "a\\|b\\\\c d\\*e"
    assert latex("50% & a_b #1 ${x} ~ ^ \\") == (
        "50\\% \\& a\\_b \\#1 \\$\\{x\\} \\textasciitilde{} \\textasciicircum{} \\textbackslash{}"
    )


def test_latex_is_a_booktabs_table_with_escaped_cells(tmp_path: Path) -> None:
    add_base(tmp_path)
    add(tmp_path, "a_b", spoiled(0.1, seed=6))
    sweep(tmp_path, "zero_shot", "a_b", "later")
    text = report(tmp_path, ["s"], "latex", "auto")
    for part in ("\\toprule", "\\midrule", "\\bottomrule", "a\\_b &", "\\% of total", "---\\textsuperscript{1}"):
        assert part in text
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].strip().splitlines()
    columns = len(text.split("\\begin{tabular}{")[1].split("}")[0])
    assert len(body) == 3
    assert all(line.endswith("\\\\") and line.count(" & ") == columns - 1 for line in body)


def test_bytes_take_the_largest_unit_in_which_none_is_below_one() -> None:
    assert written("disk", _numbers(3_200, 500_000_000)) == ("kB", ["3.2", "500,000.0"])
    assert written("memory", _numbers(0, 2**30, 3 * 2**29)) == ("GiB", ["0", "1.00", "1.50"])
    assert written("memory", _numbers(0)) == ("bytes", ["0"])
    assert byte_unit([], (("kB", 1e3),)) == ("bytes", 1.0)


def test_signs() -> None:
    assert written("points", _numbers(1.234, -1.234, -0.001))[1] == ["+1.23", "\N{MINUS SIGN}1.23", "0.00"]
    assert signed("+0.000") == "0.000"


def _numbers(*values: float) -> Any:
    import pandas as pd

    return pd.Series(values)


# Command line


def test_without_a_sweep_the_sweeps_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_base(tmp_path)
    add(tmp_path, "full", None, status="error", cause="x")
    sweep(tmp_path, "zero_shot", "full", "later", "later")
    assert main(["--results", str(tmp_path), "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines() == ["sweep,question,done,failed,missing", "s,What does it cost?,1,1,1"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "no sweeps there"),
        (["absent"], "no such sweep"),
        (["absent", "gone"], "gone"),
        (["s"], "none of its 1 runs has a readable record"),
        (["s", "--output", "/proc/nothing/here.md"], "none of its 1 runs"),
    ],
)
def test_user_errors_are_lines_on_stderr_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    if "s" in arguments:
        sweep(tmp_path, "later")
    assert main([*arguments, "--results", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert problem in shown.err
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("content", ["{", "[]", '{"question": "?"}', '{"question": "?", "runs": [1]}'])
def test_a_file_that_is_no_sweep_is_a_user_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "s.json").write_text(content)
    with pytest.raises(UserError, match=r"s\.json"):
        report(tmp_path, ["s"], "markdown", "auto")


def test_output_goes_to_a_file_and_is_the_same_text_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_base(tmp_path)
    add(tmp_path, "lora", spoiled(0.1, seed=6))
    sweep(tmp_path, "zero_shot", "lora")
    target = tmp_path / "deep" / "table.md"
    assert main(["s", "--results", str(tmp_path), "--output", str(target)]) == 0
    assert capsys.readouterr().out == ""
    assert target.read_text(encoding="utf-8") == report(tmp_path, ["s"], "markdown", "auto")
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["s", "--results", str(tmp_path), "--output", str(blocked / "t.md")]) == 2


def test_reports_import_neither_torch_nor_hydra() -> None:
    names = sorted(path.stem for path in Path("reports").glob("*.py") if path.stem != "__init__")
    imports = "; ".join(f"import reports.{name}" for name in names)
    check = f"import sys; {imports}; print([m for m in ('torch', 'hydra', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
