"""Latency: what is timed is the answering that scores are made with, token for token. Clocks are handed in here."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.config.validate import saved_settings
from harness.evaluation.answers import write_answers
from harness.host.environment import gpu_name
from harness.measure.answer_times import Timed, prompts, repeated, summary, timed
from harness.measure.peak_memory import Meter, Peak
from harness.methods import answer
from harness.prepare.base_model import LoadedModel
from harness.results.folder import read_record, write_record
from harness.results.record import Record
from harness.results.sections import Inference
from harness.results.sweep_files import write_sweep
from harness.run import latency
from harness.run.base_scores import BaseFolders
from harness.run.latency import Latency, measure_base
from harness.texts import first_with_text
from reports.__main__ import main
from reports.values.frame import single
from tests.support.problems import problems
from tests.support.tiny import METHODS, Adapted, adapted, settings

QUICK = ("inference.batch_sizes=[2]", "inference.new_tokens=4", "inference.repeats=3", "inference.seconds=60")
NOTHING = Peak(None, None, None)


def moved(*overrides: str) -> Adapted:
    """A model whose adapter no longer starts where the base is."""
    a = adapted([*QUICK, *overrides])
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in a.model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
    a.model.eval()
    return a


def measured(a: Adapted, ended: Callable[[], object | None] = lambda: None) -> Latency:
    """What a run measures of it."""
    latency = Latency(a.settings, a.tokenizer, Meter("cpu"), ended)
    latency.measure("unmerged", a.settings.method.generate, lambda: a.model)
    latency.measure("merged", answer, lambda: a.settings.method.merge(a.model))
    return latency


def test_passes_are_stamped_when_they_end() -> None:
    layer = nn.Identity()
    now = itertools.count()
    found = timed(layer, lambda: [layer(torch.ones(1)) for _ in range(4)], lambda: float(next(now)))
    # the clock is looked at before, after each of four passes, and at the end
    assert found == Timed(prefill=1.0, decode=(1.0, 1.0, 1.0), total=5.0)
    assert not layer._forward_hooks


@pytest.mark.parametrize(("repeats", "seconds", "done"), [(3, 1e9, 3), (50, 12.0, 2), (50, 0.1, 1)])
def test_answers_are_repeated_behind_one_that_warms(repeats: int, seconds: float, done: int) -> None:
    layer, asked, now = nn.Identity(), [], itertools.count()

    def write(new: int) -> None:
        asked.append(new)
        for _ in range(new):
            layer(torch.ones(1))

    # an answer of four tokens looks at the clock six times, and each further one begins with a look
    times = repeated(layer, write, 4, repeats, seconds, lambda: float(next(now)))
    assert asked == [2] + [4] * done
    assert [len(each.decode) for each in times] == [3] * done


def test_a_method_that_answers_otherwise_is_not_timed() -> None:
    layer = nn.Identity()
    with pytest.raises(ValueError, match="0 steps"):
        repeated(layer, lambda new: layer(torch.ones(1)), 4, 1, 1.0, lambda: 0.0)


def test_figures_are_medians_with_quartiles() -> None:
    times = [Timed(3.0, (1.0, 2.0), 10.0), Timed(1.0, (3.0, 4.0), 5.0), Timed(2.0, (5.0, 9.0), 20.0)]
    found = summary(times, batch=2, prompt=32, new=3, peak=Peak(7, None, None))
    assert (found.prefill_seconds, found.prefill_iqr) == (2.0, 1.0)
    assert (found.decode_seconds_per_token, found.decode_iqr) == (3.5, 4.75 - 2.25)
    assert found.tokens_per_second == 2 * 3 / 10.0
    assert (found.rss_growth, found.cuda_allocated, found.repeats) == (7, None, 3)
    few = summary(times[:1], batch=2, prompt=32, new=3, peak=NOTHING)
    assert (few.prefill_iqr, few.decode_iqr) == (None, None)
    reads = summary([Timed(3.0, (), 3.0)], batch=2, prompt=32, new=0, peak=NOTHING)
    assert (reads.decode_seconds_per_token, reads.tokens_per_second) == (None, None)


def test_prompts_are_the_same_every_time_and_plain_text() -> None:
    ids = prompts(50, {0, 7, 49}, 8, 64)
    assert ids.shape == (8, 64)
    assert torch.equal(ids, prompts(50, {0, 7, 49}, 8, 64))
    assert set(ids.flatten().tolist()) == set(range(50)) - {0, 7, 49}


def greedy(a: Adapted, ids: torch.Tensor, new: int) -> torch.Tensor:
    """The likeliest tokens [batch, new], by the whole text anew for each of them."""
    given: dict[str, torch.Tensor] = {"input_ids": ids}
    written = ids
    if a.task.kind == "seq2seq":
        written = ids.new_full((len(ids), 1), a.model.config.decoder_start_token_id)
    for _ in range(new):
        given["decoder_input_ids" if a.task.kind == "seq2seq" else "input_ids"] = written
        with torch.no_grad():
            scores = a.model(**given, use_cache=False).logits[:, -1]
        scores[:, a.tokenizer.eos_token_id] = -torch.inf
        written = torch.cat([written, scores.argmax(-1, keepdim=True)], dim=1)
    return written if a.task.kind == "seq2seq" else written[:, ids.shape[1] :]


@pytest.mark.parametrize(
    "overrides",
    [["method=lora"], ["method=prompt_tuning"], ["method=prefix_tuning"], ["method=lora", "model.architecture=t5"]],
    ids=lambda given: " ".join(given),
)
def test_the_timed_answer_is_the_greedy_one(overrides: list[str]) -> None:
    a = moved(*overrides)
    ids = prompts(len(a.tokenizer), a.tokenizer.all_special_ids, 3, 16)
    tokens = latency._write(a.settings.method.generate, a.model, ids)(6)
    assert torch.equal(tokens, greedy(a, ids, 6))
    evaluation = a.settings.eval.model_copy(update={"max_new_tokens": 6})
    texts = write_answers(a.settings.method.generate, LoadedModel(a.model, a.tokenizer), ids.tolist(), evaluation)
    found = a.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    assert [first_with_text(text) for text in found] == [text.text for text in texts]


def test_merged_and_unmerged_write_the_same_tokens() -> None:
    a = moved("method=lora")
    ids = prompts(len(a.tokenizer), a.tokenizer.all_special_ids, 3, 16)
    unmerged = latency._write(a.settings.method.generate, a.model, ids)(8)
    base = latency._write(answer, adapted(["method=zero_shot"]).model.eval(), ids)(8)
    merged = latency._write(answer, a.settings.method.merge(a.model).eval(), ids)(8)
    assert torch.equal(unmerged, merged)
    assert not torch.equal(unmerged, base), "the adapter says nothing of its own: the test shows nothing"


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("few_shot", "zero_shot")])
def test_every_method_is_measured(method: str) -> None:
    architecture = settings(f"method={method}").method.facts.architecture
    a = adapted([f"method={method}", f"model.architecture={architecture}", *QUICK])
    latency = measured(a)
    merges = a.settings.method.facts.merges
    assert list(latency.found) == ["unmerged", "merged"][: 1 + merges], latency.reasons
    assert set(latency.reasons) == {"inference.cuda_allocated"} | (set() if merges else {"inference.merged"})
    for (row,) in latency.found.values():
        assert (row.batch_size, row.new_tokens, row.repeats) == (2, 4, 3)
        assert row.decode_iqr is not None


def test_a_classifier_reads_alone() -> None:
    latency = measured(moved("method=lora", "data=cuisine", "model.architecture=bert"))
    (row,), (merged,) = latency.found["unmerged"], latency.found["merged"]
    assert row.new_tokens == merged.new_tokens == 0
    assert row.prefill_seconds > 0
    assert row.decode_seconds_per_token is None
    unwritten = {f"inference.{name}" for name in ("decode_seconds_per_token", "decode_iqr", "tokens_per_second")}
    assert set(latency.reasons) == unwritten | {"inference.cuda_allocated"}


def test_nothing_that_fails_here_costs_the_run() -> None:
    def full() -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")

    latency = Latency(settings(*QUICK), None, Meter("cpu"), lambda: None)
    latency.measure("unmerged", answer, full)
    assert latency.found == {}
    assert latency.reasons == {"inference.unmerged": "OutOfMemoryError: CUDA out of memory. Tried to allocate"}
    assert latency.found == {}
    long = measured(adapted(["method=prompt_tuning", *QUICK, "inference.prompt_tokens=1010"]))
    latency.measure("merged", answer, full, copies=2**60)
    assert "would take 1073741824.0 GiB" in latency.reasons["inference.merged"]
    virtual = 16
    assert long.found == {}
    assert f"{1010 + 4 + virtual} tokens in all, the model reads 1024" in long.reasons["inference.unmerged"]
    late = measured(adapted(["method=ia3", *QUICK]), lambda: "longer than train.time_limit=1 s")
    assert late.reasons["inference.unmerged"] == "not done: longer than train.time_limit=1 s"
    off = measured(adapted(["method=lora", "inference.batch_sizes=[]"]))
    assert (off.found, list(off.reasons)) == ({}, ["inference"])


def test_what_failed_of_the_base_is_tried_again(tmp_path: Path) -> None:
    a = adapted(["method=zero_shot", *QUICK])
    long = a.settings.model_copy(
        update={"inference": a.settings.inference and a.settings.inference.model_copy(update={"prompt_tokens": 2000})}
    )

    def kept(chosen: Any) -> dict[str, Any]:
        measure_base(chosen, a.model, a.tokenizer, Meter("cpu"), lambda: None, tmp_path / "base")
        found: dict[str, Any] = json.loads((tmp_path / "base/inference.json").read_text())
        return found

    assert kept(long)["base"] == []
    first = kept(a.settings)
    assert (len(first["base"]), list(first["reasons"])) == (1, ["inference.cuda_allocated"])
    assert kept(a.settings) == first  # made once: a clock would not show the same twice


def test_how_it_is_measured_is_no_part_of_a_run() -> None:
    usual = settings()
    for changed in (["inference.batch_sizes=[]"], ["inference.new_tokens=9"], ["inference=null"]):
        assert settings(*changed).key() == usual.key()
    folders = {BaseFolders.of(settings(f"inference.new_tokens={n}")).inference for n in (4, 5, 5)}
    assert len(folders) == 2
    assert BaseFolders.of(settings("inference.batch_sizes=[]")).inference is None


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("inference.batch_sizes=[0]", "greater than or equal to 1"),
        ("inference.batch_sizes=[4,4]", "names a batch size twice; name each once"),
        ("inference.batch_sizes=8", "valid list"),
        ("inference.prompt_tokens=0", "greater than or equal to 1"),
        ("inference.new_tokens=1", "greater than or equal to 2"),
        ("inference.repeats=0", "greater than or equal to 1"),
        ("inference.seconds=0", "greater than 0"),
        ("inference.batch=[1]", "inference.batch_sizes"),
    ],
)
def test_bad_settings(override: str, says: str) -> None:
    (line,) = problems("model=tiny_random", override)
    assert line.startswith(override.partition("[")[0].partition("=")[0])
    assert says in line


def test_records(run_point: Callable[..., Record], tmp_path: Path) -> None:
    record = run_point("method=lora", "keep_model=true", "dtype=fp32", *QUICK)
    assert record.status == "ok", record.cause
    assert record.inference is not None
    assert list(record.inference) == ["base", "unmerged", "merged"]
    assert "inference" in record.seconds
    reasons = {name for name in record.null_reasons if name.startswith("inference")}
    assert reasons == {"inference.cuda_allocated"}
    folder = tmp_path / "results/runs" / record.id
    config = json.loads((folder / "config.json").read_text())
    del config["inference"]  # as configurations were
    (folder / "config.json").write_text(json.dumps(config))
    assert saved_settings(folder / "config.json").run_id() == record.id
    base = run_point("method=zero_shot", "dtype=fp32", *QUICK)
    assert base.inference == {"base": record.inference["base"]}
    assert set(base.null_reasons) >= {"inference.unmerged", "inference.merged"}


@pytest.mark.gpu
@pytest.mark.skipif(gpu_name() is None, reason="there is no CUDA device, or torch is a CPU build")
def test_a_gpu_counts_the_allocators_memory(run_point: Callable[..., Record]) -> None:
    record = run_point("device=cuda", "method=lora", *QUICK)
    assert record.inference is not None, record.null_reasons
    assert list(record.inference) == ["base", "unmerged", "merged"]
    for (row,) in record.inference.values():
        assert row.cuda_allocated
        assert row.rss_growth is None


def recorded(results: Path, name: str, seed: int | None, found: Any, **reasons: str) -> dict[str, str]:
    """A run of a sweep, written with what it measured."""
    record = Record(
        id=name,
        key={"settings": {"seed": seed}},
        status="ok",
        started="2026-11-24",
        method=name,
        label=name,
        inference=found,
        null_reasons={f"inference.{name}": why for name, why in reasons.items()},
    )
    write_record(results, record)
    return {"id": name, "label": name, "overrides": ""}


def row(batch: int, prefill: float, decode: float | None, **more: Any) -> Inference:
    lengths = {"batch_size": batch, "prompt_tokens": 32, "new_tokens": 5, "repeats": 3}
    return Inference(**lengths | more, prefill_seconds=prefill, decode_seconds_per_token=decode)


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = [row(1, 0.2, 0.1, prefill_iqr=0.01, decode_iqr=0.02), row(4, 0.4, 0.2)]
    unmerged = [row(1, 0.3, 0.15, rss_growth=3 * 2**20, tokens_per_second=12.5), row(4, 0.5, 0.1)]
    runs = [
        recorded(tmp_path, "lora", 0, {"base": base, "unmerged": unmerged, "merged": [row(1, 0.2, 0.125)]}),
        recorded(tmp_path, "prefix", 0, {"base": base, "unmerged": [row(1, 0.2, None)]}, merged="never"),
        recorded(tmp_path, "older", 0, None),
    ]
    write_sweep(tmp_path, "some", "?", runs)
    assert main(["some", "--table", "inference", "--results", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    named = [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]
    assert [(line["row"], line["model"], line["batch"]) for line in named] == [
        *(("lora", model, batch) for model in ("base", "unmerged") for batch in ("1", "4")),
        ("lora", "merged", "1"),
        ("prefix", "unmerged", "1"),  # its base is that of the row above
    ]
    assert [line["decode, base = 1"] for line in named] == ["1.00", "1.00", "1.50", "0.50", "1.25", "\N{EM DASH}"]
    assert [line["decode [ms/token]"] for line in named[:3]] == ["100", "200", "150"]
    assert named[2]["memory growth [MiB]"] == "3.00"
    assert "- merged: never (prefix)." in text
    assert "- not recorded (older)." in text
    assert main(["some", "--table", "inference", "--results", str(tmp_path), "--format", "json"]) == 0
    raw = json.loads(capsys.readouterr().out)
    assert len(raw) == 8
    assert raw[2]["tokens_per_second"] == 12.5
    assert (raw[2]["prefill_over_base"], raw[2]["decode_over_base"]) == (1.5, 1.5)
    for form in ("latex", "html", "csv"):
        assert main(["some", "--table", "inference", "--results", str(tmp_path), "--format", form]) == 0
        assert "prefix" in capsys.readouterr().out


def test_a_sweep_without_latency_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(tmp_path, "old", "?", [recorded(tmp_path, "older", 0, None)])
    assert main(["old", "--table", "inference", "--results", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: old: no run has measured how it answers (not recorded); run it with inference.batch_sizes"
    )
    assert main(["none", "--table", "inference", "--results", str(tmp_path)]) == 2
    assert "there are: old" in capsys.readouterr().err


def test_what_one_would_serve(tmp_path: Path) -> None:
    base, unmerged = [row(1, 1, 1)], [row(1, 2, 2)]
    made = {
        "lora": {"base": base, "unmerged": unmerged, "merged": [row(4, 3, 3), row(1, 4, 4)]},
        "full": {"base": base, "unmerged": unmerged},
        "zero": {"base": base},
        "many": {"base": base, "unmerged": [row(4, 2, 2)]},
    }
    for name, found in made.items():
        recorded(tmp_path, name, 0, found)
    read = {name: single(read_record(tmp_path / "runs" / name / "record.json")) for name in made}
    seconds = {name: each and each.prefill_seconds for name, each in read.items()}
    assert seconds == {"lora": 4.0, "full": 2.0, "zero": 1.0, "many": None}
