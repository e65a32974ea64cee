"""After training: adapters saved, loaded and swapped; what merging changes; bytes of many tasks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from harness import data
from harness.commands import generate, merge_audit
from harness.commands._finished import FinishedRun, finished_run
from harness.data.splits import by_task
from harness.errors import UserError
from harness.launch import run_once
from harness.models import split_layers
from harness.models.tiny import TinyRandom
from harness.places import CONF, ROOT
from harness.prepare.base_model import load_base
from harness.prepare.batch import collate_prompts
from harness.results.folder import read_record, write_record
from harness.results.lines import read_lines
from harness.results.record import Record
from harness.results.sections import Parameters
from harness.results.sweep_files import write_sweep
from harness.training.trainer import Trainer, TrainingData
from reports.commands.table import report
from tests.support.command_line import SMALL, TINY
from tests.support.tiny import adapted

KEPT = ["lora", "ia3", "prefix_tuning", "prompt_tuning"]


class Made:
    """Finished runs, made as they are asked for."""

    def __init__(self, results: Path, folder: Path) -> None:
        self.results, self.folder = results, folder
        self.runs: dict[tuple[str, ...], str] = {}

    def __call__(self, *overrides: str) -> str:
        """The id of the run with these overrides."""
        if overrides not in self.runs:
            with initialize_config_dir(str(CONF), version_base=None):
                config = compose("config", [*SMALL, "dtype=fp32", f"results={self.results}", *overrides])
            record = run_once.run_point(config)
            assert record.status == "ok", record.cause
            self.runs[overrides] = record.id
        return self.runs[overrides]

    def run(self, *overrides: str) -> FinishedRun:
        return finished_run(self(*overrides), self.results)


@pytest.fixture(scope="module")
def made(worker: None, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Runs of a tiny model, in one folder of results; `folder` holds a model that can be quantized."""
    folder = tmp_path_factory.mktemp("model")
    model, tokenizer = TinyRandom(name="tiny").load(torch.float32, "cpu", None)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Made(tmp_path_factory.mktemp("results"), folder)


@pytest.mark.parametrize("method", KEPT)
def test_a_saved_adapter_on_a_fresh_base_gives_the_same(method: str, tmp_path: Path) -> None:
    a = adapted([f"method={method}", "train.steps=5"])
    train, checkpoint = a.settings.train, tmp_path / "checkpoint.pt"
    batches = a.task.batches(train.batch_size, 0)
    trainer = Trainer(
        a.forward, a.settings.method, train, TrainingData(batches, a.task.pad, a.task.validation), checkpoint, False
    )
    trainer.run(lambda: None, lambda line: None)
    chosen = a.settings.method
    saved = chosen.save(a.model, tmp_path / "adapter")
    assert saved == sum(path.stat().st_size for path in (tmp_path / "adapter").glob("*.safetensors"))
    fresh = chosen.load(load_base(a.settings)[0], tmp_path / "adapter")
    batch = a.task.validation[0]
    inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
    a.model.eval()
    fresh.eval()
    from transformers import GenerationConfig

    ids, mask = collate_prompts(list(a.task.prompts.values()), a.task.pad)
    config = GenerationConfig(do_sample=False, max_new_tokens=12, pad_token_id=a.task.pad)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        torch.testing.assert_close(fresh(**inputs).logits, a.model(**inputs).logits, rtol=0, atol=1e-6)
        tokens = chosen.generate(a.model, ids, mask, config)
        assert torch.equal(chosen.generate(fresh, ids, mask, config), tokens)


def test_adapters_in_turn_say_what_their_own_runs_said(made: Made) -> None:
    """Each run's own predictions are the witness; layer norms rewrite the base, which the next adapter must not see."""
    methods = [*KEPT, "layer_norms", "lora"]
    runs = [made.run(f"method={name}") for name in methods]
    examples = by_task(data.load(runs[0].settings.data)[0].test, runs[0].settings.eval.test_examples)
    answers = generate.answer_all(runs, [example.source for example in examples])
    for run, texts in zip(runs, answers, strict=True):
        assert texts == [line["prediction"] for line in read_lines(run.folder / "predictions.jsonl")]
    assert len({tuple(texts) for texts in answers}) == len(set(methods))


@pytest.mark.parametrize("method", KEPT)
def test_the_base_is_itself_again_without_its_adapter(made: Made, method: str) -> None:
    run = made.run(f"method={method}")
    model, _ = load_base(run.settings)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    again = generate.taken_off(run.settings.method.load(model, run.adapter))
    assert again is model
    assert all(torch.equal(p, before[name]) for name, p in again.named_parameters())


def test_the_command_answers_the_lines_of_a_file(made: Made, tmp_path: Path) -> None:
    (tmp_path / "inputs.txt").write_text("name[Aromi], eatType[pub]\n\nname[Zizzi]\n")
    where = [str(made.run("method=lora").folder), made("method=ia3"), "--results", str(made.results)]
    answer = command("generate", "--adapters", *where, "--input", str(tmp_path / "inputs.txt"))
    assert answer.returncode == 0, answer.stderr
    blocks = answer.stdout.strip().split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == ["name[Aromi], eatType[pub]", "name[Zizzi]"]
    assert "lora r=8 (lora-" in blocks[0]
    assert "ia3 (ia3-" in blocks[1]


def command(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "harness", name.replace("_", "-"), *arguments]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def check_refused(answer: subprocess.CompletedProcess[str], *says: str) -> None:
    (line,) = answer.stderr.splitlines()
    assert answer.returncode == 2
    assert line.startswith("error: ")
    assert all(text in line for text in says), line
    assert not answer.stdout


def test_adapters_of_unlike_bases_are_refused_before_anything_loads(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = made("method=lora")
    others = {
        "hidden_size 32 instead of 64": made("method=lora", "model.hidden_size=32"),
        "name other instead of tiny_random": made("method=lora", "model.name=other"),
        "dtype bf16 instead of fp32": made("method=lora", "dtype=bf16"),
    }
    monkeypatch.setattr("harness.prepare.base_model.load_base", lambda settings: pytest.fail("a model was loaded"))
    for says, other in others.items():
        given = ["--adapters", mine, other, "--prompt", "x", "--results", str(made.results)]
        with pytest.raises(UserError) as error:
            generate.main(given)
        (line,) = error.value.problems
        assert says in line
        assert other in line


def test_runs_that_cannot_serve_are_refused(made: Made, tmp_path: Path) -> None:
    place = ["--results", str(made.results), "--prompt", "x"]
    check_refused(command("generate", "--adapters", "lora-nothing", *place), "lora-nothing", "--results")
    full = made("method=full")
    check_refused(command("generate", "--adapters", full, *place), full, "keeps no adapter")

    run = made.run("method=lora")
    broken = read_record(run.folder / "record.json").model_copy(update={"id": "lora-broken", "status": "oom"})
    write_record(made.results, broken)
    with pytest.raises(UserError, match="ended as oom"):
        finished_run("lora-broken", made.results)
    write_record(made.results, broken.model_copy(update={"status": "ok"}))
    with pytest.raises(UserError, match=r"kept no config\.json"):
        finished_run("lora-broken", made.results)


def test_a_base_that_has_changed_since_is_refused(made: Made, tmp_path: Path) -> None:
    run = made.run("method=lora")
    key = json.loads(json.dumps(run.record.key))
    key["model"]["tiny_random"]["seed"] = 1
    folder = tmp_path / "runs" / run.record.id
    write_record(tmp_path, run.record.model_copy(update={"key": key}))
    (folder / "config.json").write_text((run.folder / "config.json").read_text())
    (folder / "adapter").symlink_to(run.adapter)
    with pytest.raises(UserError, match="not the model any more"):
        finished_run(run.record.id, tmp_path)


def audited(run: FinishedRun) -> dict[str, merge_audit.Variant]:
    return {variant.name: variant for variant in merge_audit.audit(run)}


def unmerged_is_the_run(run: FinishedRun, variant: merge_audit.Variant) -> None:
    assert (variant.distance, variant.kl) == (0, 0)
    assert variant.val_loss == pytest.approx(run.record.quality["val_loss"], abs=1e-6)
    assert variant.quality["bleu"] == pytest.approx(run.record.quality["bleu"])


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_audit_of_a_plain_base(made: Made, method: str) -> None:
    run = made.run(f"method={method}")
    found = audited(run)
    assert list(found) == ["unmerged", "merged in fp32", "merged in bf16", "merged, re-quantized to nf4"]
    unmerged_is_the_run(run, found["unmerged"])
    exact, half, four = (found[name] for name in list(found)[1:])
    assert exact.distance < 1e-5
    assert exact.quality == found["unmerged"].quality
    assert exact.distance < half.distance < four.distance
    assert exact.kl < half.kl < four.kl
    parameters = run.record.parameters
    assert parameters is not None
    base = parameters.total - parameters.added
    assert (exact.bytes, half.bytes) == (4 * base, 2 * base)
    assert found["unmerged"].bytes == 4 * parameters.total
    assert all(len(v.speeds) == merge_audit.ROUNDS and min(v.speeds) > 0 for v in found.values())
    checked = merge_audit.check(run)
    assert checked.apart is not None
    assert not checked.wrong
    text = merge_audit.render(run, list(found.values()), checked)
    assert len([line for line in text.splitlines() if line.startswith("| ")]) == 5
    assert "WRONG" not in text
    found["unmerged"].quality["bleu"] = None  # as of answers in another script
    assert " — |" in merge_audit.render(run, list(found.values()), checked)


def test_audit_of_a_quantized_base(made: Made) -> None:
    overrides = ["model=path", f"model.path={made.folder}", "quantization=nf4"]
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose(
            "config", [*TINY[1:], "data.size=100", "dtype=fp32", f"results={made.results}", "method=lora", *overrides]
        )
    record = run_once.run_point(config)
    assert record.status == "ok", record.cause
    run = finished_run(record.id, made.results)
    found = audited(run)
    own, before = "merged into dequantized weights (fp32)", "merged into the weights before quantization (bf16)"
    assert list(found) == ["unmerged", own, before, "merged, re-quantized to nf4"]
    unmerged_is_the_run(run, found["unmerged"])
    # The adapter was trained on the quantized values, so merging into other ones changes more.
    assert found[own].distance < 0.1 * min(found[before].distance, found["merged, re-quantized to nf4"].distance)
    assert found["merged, re-quantized to nf4"].bytes < found["unmerged"].bytes < found[before].bytes


def test_a_merge_into_a_shared_weight_is_named_wrong_in_the_audit(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planted: the head's change goes into the embeddings too. By the rounding of bf16 alone it could not be told."""
    run = made("method=lora", "targets.modules=[lm_head]")
    arguments = [run, "--results", str(made.results)]
    merge_audit.main(arguments)
    assert "WRONG" not in capsys.readouterr().out
    monkeypatch.setattr(split_layers, "untie", lambda *_: None)
    with pytest.raises(UserError, match="merging changes what the model answers"):
        merge_audit.main(arguments)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert sum(": WRONG " in row for row in rows) == 3
    assert "WRONG" not in rows[1]  # unmerged


def test_what_cannot_be_merged_is_refused(made: Made) -> None:
    run = made("method=prompt_tuning")
    check_refused(command("merge_audit", run, "--results", str(made.results)), run, "cannot be merged")


def test_bytes_of_many_tasks(tmp_path: Path) -> None:
    """N tasks: base + N adapters, against N copies."""
    sizes = {"lora": (8, 10_000), "full": (1_000, 2_000_000), "zero_shot": (0, 0)}
    runs = []
    for method, (trainable, adapter) in sizes.items():
        added = 8 if method == "lora" else 0
        parameters = Parameters(
            trainable=trainable, added=added, total=1_000 + added, adapter_bytes=adapter, full_copy_bytes=2_000_000
        )
        record = Record(
            id=f"{method}-1", key={"settings": {}}, status="ok", started="", method=method, label=method,
            parameters=parameters, quality={"bleu": 1.0},
        )  # fmt: skip
        write_record(tmp_path, record)
        runs.append({"id": record.id, "label": method, "overrides": ""})
    write_sweep(tmp_path, "s", "?", runs)
    lines = report(tmp_path, ["s"], "csv", "storage").splitlines()
    assert lines == [
        "row,task_bytes,base_bytes,tasks_1_bytes,tasks_10_bytes,tasks_100_bytes",
        "full copies,2000000,0,2000000,20000000,200000000",
        "lora,10000,2000000,2010000,2100000,3000000",
        "full,2000000,0,2000000,20000000,200000000",
    ]
    assert "storage" in report(tmp_path, ["s"], "markdown", "storage")
