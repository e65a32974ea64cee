"""Wrong inputs of every command: one line a problem that names it, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file, save_file

from harness.data.tables import read_table
from harness.errors import UserError, memory_is_out, refuse, run_command
from harness.host.cache import build_once
from harness.launch import run_once
from harness.models.local import LocalModel
from harness.places import CONF, ROOT
from harness.results.checksums import unseal
from harness.results.folder import UnreadableRecord, finished_record, read_record
from harness.results.sweep_files import read_sweep, write_sweep
from harness.texts import refuse_half_pairs
from reports.__main__ import main as reports
from reports.read.runs import UnusablePredictions, all_runs, example_parts
from tests.support.command_line import SMALL, TINY, Harness
from tests.support.made_models import byte_tokenizer, saved
from tests.support.problems import problems

LONG = "x" * 5000
NESTED, DIGITS = b"[" * 100_000, b'{"prediction": ' + b"9" * 5000 + b"}"
BYTES = {
    "empty": b"",
    "latin": b"caf\xe9\n",
    "utf16": "a\n".encode("utf-16"),
    "nested": NESTED,
    "digits": DIGITS,
    "half": b'{"prediction": "\\ud800"}\n',
    "twins": b'{"prediction": "a", "prediction": "b"}\n',
    "garbage": b"\x00garbage",
}
"""What a file may hold instead of what it should."""

Said = Callable[..., list[str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """The error lines of a command that refuses its arguments, run in this process."""

    def lines(name: str, *arguments: object) -> list[str]:
        words = [str(argument) for argument in arguments]
        if name == "reports":
            code = reports(words)
        else:
            code = run_command(lambda: importlib.import_module(f"harness.commands.{name}").main(words))
        out, err = capsys.readouterr()
        found = [line for line in err.splitlines() if line.startswith("error: ")]
        assert code == 2, err
        assert "Traceback" not in out + err
        return found

    return lines


# Arguments

NO_RUN = ["--results", "nowhere"]
TWO = ["--stage", "data=restaurants", "--stage", "data=cuisine"]
ARGUMENTS: list[tuple[list[str], str]] = [
    *[
        ([name, *more], "is empty")
        for name in ("score", "generate", "merge_audit", "explain_prompt", "references", "sequence", "quantization")
        for more in ([""], ["--results", ""], ["--results="])
    ],
    *[(["reports", *command, "--results", ""], "--results") for command in ([], ["paper"], ["page"], ["track", "x"])],
    *[
        (["reports", *command, "--results", place], "no folder")
        for place in ("/nowhere", LONG)
        for command in (
            *(["x"], ["paper", "lora_e2e"], ["figures", "x"], ["page"], ["track", "x"], ["baseline", "compare"]),
            *(["baseline", "save", "x"], ["baseline", "accept", "--reason", "x"]),
        )
    ],
    (["score", "--predictions", "a", "--references", "b", "--prediction-column", ""], "--prediction-column"),
    (["score", "--predictions", "a", "--references", "b", "--encoding="], "--encoding"),
    (["score", "--predictions", "a"], "--references"),
    (["score", "--predictions", "a", "--references", LONG], "name too long"),
    (["generate", "--adapters", "x", *NO_RUN], "--prompt --input"),
    (["generate", "--adapters", "x", "--prompt", ""], "--prompt"),
    (["generate", "--adapters", "x", "--prompt", "a\udcff"], "--prompt: has \\udcff"),
    (["generate", "--adapters", LONG, "--prompt", "a", *NO_RUN], "--results"),
    (["generate", "--adapters", "x", "--prompt", "a", "--results", LONG], "--results"),
    (["generate", "--adapters", "x", "--input", LONG], "name too long"),
    (["merge_audit", LONG], "--results"),
    (["merge_audit", "a", "b"], "unrecognized"),
    (["explain_prompt", "x", "--tokens", "0"], "at least 1"),
    (["explain_prompt", "x", "--tokens", "9" * 5000], "--tokens"),
    (["references", LONG, "--output", "y"], "--results"),
    (["references", "x"], "--output"),
    (["sequence", "--stage", ""], "--stage"),
    (["sequence", *TWO[:2], "--stage", " "], "no overrides"),
    (["sequence", *TWO[:2], "--stage", '"'], "close the quotation"),
    (["sequence", *TWO, "--name", LONG], "--name"),
    (["sequence", *TWO, "--name", "../x"], "--name=../x"),
    (["sequence", *TWO, "--method", " "], "no overrides"),
    (["sequence", *TWO, "--joint="], "--joint"),
    (["quantization", "--block-size", "x"], "--block-size"),
    (["quantization", "=3"], "=3"),
    (["plan", "=3"], "=3"),
    (["plan", f"seed={'9' * 5000}"], "4300 digits"),
    (["plan", "-m", "seed=1,2", "hydra.sweeper.max_points=x"], "max_points"),
    (["plan", "-m", "method=glob(zzz*)"], "method=glob(zzz*): matches nothing"),
    (["plan", "-m", "seed=range(0,100000000)"], "1,000,000 points are more than 2,000"),
    (["plan", "model=tiny_random", "threads=100000000"], "threads=100000000"),
    (["plan", "model=tiny_random", "eval.length_penalty=1e308"], "eval.length_penalty"),
    (["plan", "plan.budget="], "plan.budget"),
    (["plan", "+sweep="], "+sweep="),
    (["plan", "model=path", "model.path=/nowhere"], "save_pretrained"),
    (["plan", "model=gpt2", "model.shape.hidden_size=0"], "hidden_size=0"),
    (["plan", "model=tiny_random", "model.hidden_size=0"], "model.hidden_size=0"),
    (["reports", LONG], "no sweep"),
    (["reports", "--format", "x"], "--format"),
    (["reports", "--wrong"], "--wrong"),
    (["reports", "paper", LONG], "no such table"),
    (["reports", "history", LONG], "name too long"),
    (["reports", "history", "/nowhere"], "no baseline there"),
    (["reports", "regress", "--baseline", LONG], "name too long"),
    (["reports", "regress", "--repeats", "0"], "--repeats"),
    (["reports", "regress", "--results", "/dev/null"], "/dev/null"),
    (["reports", "baseline"], "action"),
    (["reports", "baseline", "accept"], "--reason"),
    (["reports", "baseline", "accept", "--reason", ""], "--reason"),
    (["reports", "baseline", "accept", "--reason", " "], "--reason"),
    (["reports", "baseline", "save", "x", "--reason", " ", "--baseline", "nowhere"], "--reason"),
    (["reports", "figures", "x", "--only", "pie"], "--only"),
    (["reports", "page", "--title", ""], "--title"),
]


@pytest.mark.parametrize(("words", "says"), ARGUMENTS, ids=[" ".join(words)[:60] for words, _ in ARGUMENTS])
def test_arguments(said: Said, words: list[str], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.commands.baseline.measure", None)  # what is refused measures nothing
    (line,) = said(*words)
    assert says.lower() in line.lower()
    assert len(line) < 2100


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        *[([f"{name}="], name) for name in ("results", "tracker.project", "forgetting.text", "forgetting.panel")],
        *[([f"{name}="], name) for name in ("model.name", "data.name", "method.name", "seed", "device", "budget")],
        (["model=hub", "model.id="], "model.id"),
        (["model=hub", "model.id=a", "model.revision="], "model.revision"),
        (["model=path", "model.path="], "model.path"),
        (["model=path", f"model.path={LONG}"], "save_pretrained"),
        (["model=path", "model.path=/etc/passwd"], "save_pretrained"),
        (["model.hidden_size=0"], "model.hidden_size=0"),
        (["model.hidden_size=63"], "model.hidden_size=63"),
        (["model.context=0"], "model.context=0"),
        (["model.seed=-1"], "model.seed=-1"),
        ([f"forgetting.text={LONG}"], "no such file"),
        ([f"forgetting.panel={LONG}"], "File name too long"),
        (["data=e2e", "data.path="], "data.path"),
        (["data=e2e", f"data.path={LONG}"], "File name too long"),
        (["data=gsm8k", f"data.path={LONG}"], "no such folder"),
        (["data=gsm8k", "data.path="], "data.path"),
        (["lm_eval.tasks=['']"], "lm_eval.tasks.0"),
        (["lm_eval.path="], "lm_eval.path"),
        (["lm_eval.num_fewshot=5"], "lm_eval.num_fewshot=5: must name tasks and groups"),
        (["lm_eval.num_fewshot={arc_easy: -1}"], "lm_eval.num_fewshot.arc_easy"),
        (["lm_eval.apply_chat_template=yes"], "lm_eval.apply_chat_template"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_settings(overrides: list[str], names: str) -> None:
    own = any(each.startswith("data=") for each in overrides)
    (line,) = problems(*(TINY if own else SMALL), *overrides)
    assert names in line


def test_a_sweeps_name_is_a_files(harness: Harness) -> None:
    ended = harness("-m", "seed=0,1", f"hydra.sweeper.name={LONG}")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: hydra.sweeper.name=xxx")
    assert "at most 150" in line
    assert not harness.results.exists()


# Files


@pytest.mark.parametrize(
    ("suffix", "bad"),
    [("txt", bad) for bad in ("empty", "latin", "utf16")] + [("jsonl", bad) for bad in BYTES],  # others are texts
)
def test_files_of_outputs(said: Said, tmp_path: Path, bad: str, suffix: str) -> None:
    path, good = tmp_path / f"p.{suffix}", tmp_path / "good"
    path.write_bytes(BYTES[bad])
    good.write_text("a\n")
    (line,) = said("score", "--predictions", path, "--references", good)
    assert ("0 predictions" if bad == "empty" else str(path)) in line
    if suffix == "txt":
        (line,) = said("generate", "--adapters", "x", "--input", path)
        assert str(path) in line


@pytest.mark.parametrize("bad", [*BYTES, "folder"])
def test_files_of_panel_sweep_and_baseline(said: Said, tmp_path: Path, bad: str) -> None:
    path, sweep = tmp_path / "x.yaml", tmp_path / "results" / "sweeps" / "x.json"
    sweep.parent.mkdir(parents=True)
    for each in (path, sweep):
        if bad == "folder":
            each.mkdir()
        else:
            each.write_bytes(BYTES[bad])
    (line,) = problems(*SMALL, f"forgetting.panel={path}")
    assert str(path) in line
    (line,) = said("reports", "regress", "--baseline", path)
    assert str(path) in line
    if bad != "folder":
        (line,) = said("reports", "history", tmp_path)
        assert str(tmp_path) in line
    (line,) = said("reports", "x", "--results", tmp_path / "results")
    assert str(sweep) in line
    if bad != "empty":
        (line,) = said("reports", "page", "--results", tmp_path / "results", "--references", path)
        assert str(path) in line


def test_levels_of_a_file_do_not_end_the_process(said: Said, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for text in ("[" * 10**5 + "]" * 10**5, "{a: " * 10**5, "- " * 10**5, "? " * 10**5):
        path.write_text(text)
        (line,) = said("reports", "regress", "--baseline", path)
        assert "within one another" in line


# Models


def weights(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], object]:
    """Changes the weights of a model's folder."""

    def act(folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file(change(load_file(path)), path, metadata={"format": "pt"})

    return act


def pickled(content: Callable[[Path], object]) -> Callable[[Path], object]:
    """Puts something in place of the weights, as older models have them."""

    def act(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        content(folder / "pytorch_model.bin")

    return act


def config(**given: Any) -> Callable[[Path], object]:
    """Changes settings of a model."""

    def act(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | given))

    return act


def written(name: str, content: bytes) -> Callable[[Path], object]:
    """Writes a file."""
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str) -> Callable[[Path], object]:
    """Cuts a file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:1000])


PARTS: dict[str, tuple[Callable[[Path], object], str]] = {
    **{
        f"{name} {bad}": (written(name, BYTES[bad]), name)
        for name in ("config.json", "tokenizer_config.json", "generation_config.json")
        for bad in ("empty", "garbage", "nested", "digits", "utf16", "twins")
    },
    **{f"tokenizer.json {bad}": (written("tokenizer.json", BYTES[bad]), "folder is whole") for bad in BYTES},
    **{f"{name} list": (written(name, b"[]"), "list") for name in ("config.json", "tokenizer_config.json")},
    "tokenizer list": (written("tokenizer.json", b"[]"), "folder is whole"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "save_pretrained"),
    "no tokenizer": (lambda folder: [path.unlink() for path in folder.glob("token*")], "tokenizer"),
    "no type": (written("config.json", b"{}"), "model_type"),
    "unknown type": (config(model_type="nonsense"), "nonsense"),
    "type is a list": (config(model_type=["llama"]), "folder is whole"),
    "heads": (config(num_attention_heads=5), "multiple"),
    "no heads": (config(num_attention_heads=0), "folder is whole"),
    "dtype": (config(dtype="float99"), "float99"),
    **{
        f"{name}={value}": (config(**{name: value}), f"{name}={value}")
        for name, value in [("hidden_size", 0), ("hidden_size", -64), ("num_hidden_layers", 0), ("vocab_size", 0)]
    },
}
"""Damage that is seen without weights, and what is said of it."""
WEIGHTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (cut("model.safetensors"), "SafetensorError"),
    "empty": (written("model.safetensors", b""), "SafetensorError"),
    "garbage": (written("model.safetensors", b"garbage" * 100), "SafetensorError"),
    "absent": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
    "another's": (weights(lambda given: {"x": torch.zeros(3)}), "lack 21 weights"),
    "one less": (weights(lambda given: {n: w for n, w in given.items() if n != "model.norm.weight"}), "lack 1 weight"),
    "more layers": (config(num_hidden_layers=3), "model.layers.2"),
    "other width": (config(hidden_size=32), "[328, 64] and not [328, 32]"),
    "other type": (config(model_type="gpt2"), "lack 28 weights"),
    "activation": (config(hidden_act="nonsense"), "nonsense"),
    "bin cut": (pickled(lambda path: path.write_bytes(b"PK\x03\x04" + bytes(500))), "folder is whole"),
    "bin empty": (pickled(lambda path: path.write_bytes(b"")), "EOFError"),
    "bin garbage": (pickled(lambda path: path.write_bytes(b"garbage" * 100)), "UnpicklingError"),
    "bin list": (pickled(lambda path: torch.save([1, 2], path)), "folder is whole"),
}
"""Damage that is seen when the model is loaded."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "whole", byte_tokenizer("<s>"))


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Callable[[Callable[[Path], object]], Path]:
    """A folder with a model that was damaged."""

    def make(damage: Callable[[Path], object]) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(whole, folder)
        damage(folder)
        return folder

    return make


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_models(said: Said, model: Callable[..., Path], name: str) -> None:
    damage, says = PARTS[name]
    folder = model(damage)
    (line,) = said("plan", *TINY[1:], "data.size=100", "model=path", f"model.path={folder}")
    assert says in line
    assert str(folder) in line


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_of_models(model: Callable[..., Path], name: str) -> None:
    damage, says = WEIGHTS[name]
    folder = model(damage)
    with pytest.raises(UserError) as error:
        LocalModel(name="x", path=str(folder)).load(torch.float32, "cpu", None)
    (line,) = error.value.problems
    assert says in line
    assert str(folder) in line


def test_a_classification_head_may_be_new(whole: Path) -> None:
    loaded, _ = LocalModel(name="x", path=str(whole)).load(torch.float32, "cpu", None, ("a", "b", "c"))
    assert loaded.score.weight.shape == (3, 64)


def test_a_damaged_model_in_every_command(said: Said, model: Callable[..., Path], harness: Harness) -> None:
    folder = model(cut("model.safetensors"))
    given = (*TINY[1:], "data.size=100", "model=path", f"model.path={folder}")
    ended = harness(small=given)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: model {folder}: cannot be loaded (SafetensorError")
    (record,) = harness.records().values()
    assert (record.status, record.user_error) == ("error", True)
    assert f"error: {record.cause}" == line
    (line,) = said("quantization", *given)
    assert str(folder) in line
    (line,) = said("plan", *given, "plan.measure=true")
    assert str(folder) in line


# Runs

ADAPTER, SETTINGS = "adapter/adapter_model.safetensors", "adapter/adapter_config.json"


def edited(name: str, **given: Any) -> Callable[[Path], object]:
    """Changes keys of a JSON file of a run."""
    return lambda folder: (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | given))


def not_numbers(folder: Path) -> None:
    held = load_file(folder / ADAPTER)
    save_file({name: each * float("nan") for name, each in held.items()}, folder / ADAPTER, metadata={"format": "pt"})


def flipped(folder: Path) -> None:
    content = bytearray((folder / ADAPTER).read_bytes())
    content[12] ^= 0xFF
    (folder / ADAPTER).write_bytes(content)


RUNS: dict[str, tuple[Callable[[Path], object], str]] = {
    "adapter cut": (cut(ADAPTER), "bytes of weights"),
    "adapter empty": (written(ADAPTER, b""), "holds 0 bytes"),
    "adapter flipped": (flipped, "SafetensorError"),
    "adapter NaN": (not_numbers, "no numbers"),
    "no weights": (lambda folder: (folder / ADAPTER).unlink(), "holds 0 bytes"),
    "no adapter": (lambda folder: shutil.rmtree(folder / "adapter"), "keeps no adapter"),
    "no settings": (lambda folder: (folder / SETTINGS).unlink(), "adapter_config.json"),
    "settings of no type": (written(SETTINGS, b"{}"), "peft_type"),
    "settings of another": (edited(SETTINGS, target_modules=["nothing"]), "nothing"),
    "settings of a rank": (edited(SETTINGS, r="x"), "cannot be loaded"),
    **{f"settings {bad}": (written(SETTINGS, BYTES[bad]), SETTINGS) for bad in BYTES if bad != "half"},
    **{f"config {bad}": (written("config.json", BYTES[bad]), "config.json") for bad in BYTES},
    "config deep": (written("config.json", b'{"a":' * 500 + b"1" + b"}" * 500), "config.json"),
    "config list": (written("config.json", b"[]"), "list"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "force=true"),
    "config broken": (edited("config.json", seed="${"), "config.json"),
    **{f"record {bad}": (written("record.json", BYTES[bad]), "record.json") for bad in BYTES},
    "record list": (written("record.json", b"[]"), "record.json"),
    "record without a key": (edited("record.json", key={}), "not the model"),
    "record of later": (edited("record.json", schema_version=99), "schema 99"),
    "record of a failure": (edited("record.json", status="oom"), "oom"),
}
"""Damage of a finished run, and what is said of it."""


@pytest.fixture(scope="module")
def finished(worker: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of finished runs."""
    results, made = tmp_path_factory.mktemp("results"), {}
    for method in ("lora", "prompt_tuning"):
        with initialize_config_dir(str(CONF), version_base=None):
            record = run_once.run_point(compose("config", [*SMALL, f"results={results}", f"method={method}"]))
        assert record.status == "ok", record.cause
        made[method] = results / "runs" / record.id
    return made


@pytest.mark.parametrize("name", RUNS)
def test_runs(said: Said, finished: dict[str, Path], tmp_path: Path, name: str) -> None:
    damage, says = RUNS[name]
    sealed, folder = tmp_path / "sealed", tmp_path / "run"
    for copy in (sealed, folder):
        shutil.copytree(finished["lora"], copy)
        damage(copy)
    unseal(folder)  # what its checksums do not say is found by what is in it
    for command in (["generate", "--prompt", "name[Aromi]", "--adapters"], ["merge_audit"]):
        (line,) = said(*command, folder)
        assert says in line
        assert str(folder) in line
        (line,) = said(*command, sealed)
        assert "not as the run left it" in line or says in line
        assert str(sealed) in line


def test_parts_of_another_run(said: Said, finished: dict[str, Path], tmp_path: Path) -> None:
    for part, says in (("adapter", "bytes of weights"), ("config.json", "another run's")):
        folder = tmp_path / part
        shutil.copytree(finished["lora"], folder)
        if (folder / part).is_dir():
            shutil.rmtree(folder / part)
            shutil.copytree(finished["prompt_tuning"] / part, folder / part)
        else:
            shutil.copy(finished["prompt_tuning"] / part, folder / part)
        (line,) = said("generate", "--prompt", "a", "--adapters", folder)
        assert "not as the run left it" in line
        unseal(folder)
        (line,) = said("generate", "--prompt", "a", "--adapters", folder)
        assert says in line


def test_damaged_runs_of_the_other_commands(said: Said, finished: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished["prompt_tuning"], folder)
    (folder / ADAPTER).write_bytes(b"x" * (folder / ADAPTER).stat().st_size)
    (line,) = said("explain_prompt", folder)
    assert "not as the run left it" in line
    unseal(folder)
    (line,) = said("explain_prompt", folder)
    assert "SafetensorError" in line
    (folder / "config.json").write_bytes(NESTED)
    (line,) = said("explain_prompt", folder)
    assert "config.json" in line
    (line,) = said("references", folder, "--output", tmp_path / "out")
    assert "config.json" in line
    for output in ("/proc/x/y", tmp_path, LONG):
        (line,) = said("references", finished["lora"], "--output", output)
        assert "--output" in line
    assert not (tmp_path / "out").exists()


# Options of Hydra

OPTIONS = {
    "--shell-completion": "--shell-completion: no such option",
    "--experimental-rerun=x": "--experimental-rerun: no such option",
    "--config-name=nope": "--config-name: no such option",
    "-1": "-1: no such option",
    "--resolve": "belongs to --cfg",
    "-m hydra/sweeper=basic": "hydra/sweeper=basic: the harness expands sweeps itself",
}


@pytest.mark.parametrize("options", OPTIONS)
def test_options_that_make_no_run(options: str) -> None:
    ended = module("harness", *options.split(), "seed=1", stdout=subprocess.PIPE)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: {OPTIONS[options]}") or OPTIONS[options] in line


# What never ends


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a large file"])
def test_files_that_never_end(finished: dict[str, Path], tmp_path: Path, kind: str) -> None:
    """As what a run kept: each is told within a moment."""
    results = tmp_path / "results"
    folder = results / "runs" / finished["lora"].name
    shutil.copytree(finished["lora"], folder)
    write_sweep(results, "s", "?", [{"id": folder.name, "label": "lora", "overrides": "", "grid": 0}])

    def replaced(path: Path) -> None:
        path.unlink()
        if kind == "a pipe":
            os.mkfifo(path)
        elif kind == "a device":
            path.symlink_to("/dev/zero")
        else:
            with path.open("wb") as file:
                file.truncate(8 * 2**30)

    replaced(folder / "predictions.jsonl")
    with pytest.raises(UnusablePredictions, match=r"predictions\.jsonl is not"):
        example_parts(all_runs(results)[0])
    unseal(folder)
    with pytest.raises(UnusablePredictions, match=r"predictions\.jsonl is not"):
        example_parts(all_runs(results)[0])
    replaced(folder / "record.json")
    with pytest.raises(UnreadableRecord, match=r"record.json: is (no regular file|larger)"):
        read_record(folder / "record.json")
    assert finished_record(results, folder.name) is None
    (asked,) = (results / "sweeps").iterdir()
    replaced(asked)
    with pytest.raises(UserError, match="not readable"):
        read_sweep([results], "s")


@pytest.mark.parametrize("levels", [300, 600, 900, 5000])
def test_deep_rows(tmp_path: Path, levels: int) -> None:
    """Read as nested as they are, or refused in one line."""
    (tmp_path / "train.jsonl").write_text(f'{{"a": {"[" * levels}1{"]" * levels}}}\n')
    with contextlib.suppress(UserError):
        refuse_half_pairs(read_table(tmp_path, "train.jsonl", None), "x")


def test_a_cache_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="HARNESS_CACHE names a folder"):
        build_once(tmp_path / "file" / "base" / "x", lambda partial: None)


# Outputs


def module(name: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", name, *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, text=True, check=False, stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize("words", [["reports", "paper"], ["reports", "paper", "lora_e2e", "--format", "csv"]])
def test_no_room_for_the_answer(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = module(*words, stdout=full)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: the output: cannot be")


def test_no_room_for_scores(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a pub\n" * 2)
    files = ["--predictions", tmp_path / "out", "--references", tmp_path / "out", "--metrics", "bleu"]
    with Path("/dev/full").open("w") as full:
        ended = module("harness", "score", *files, stdout=full)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: the output: cannot be")


def test_a_reader_that_has_had_enough() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = module("reports", "paper", stdout=writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    before = tmp_path / "before"
    before.write_text("before")
    for output in (tmp_path / "new", before):
        ended = module("reports", "paper", "--output", output, stdout=subprocess.PIPE, preexec_fn=limit)
        assert ended.returncode == 2
        (line,) = ended.stderr.splitlines()
        assert line.startswith(f"error: --output {output}: cannot be written")
    assert [path.name for path in tmp_path.iterdir()] == ["before"]
    assert before.read_text() == "before"


# How it is told


def test_a_problem_is_one_line_of_readable_length(capsys: pytest.CaptureFixture[str]) -> None:
    assert refuse(["a\nb\x1b[2J", LONG + "; the remedy"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: a b\\u001b[2J"
    assert second.endswith("; the remedy")
    assert len(second) < 2100


def test_what_is_out_of_memory_stays_so() -> None:
    assert memory_is_out(MemoryError())
    assert memory_is_out(torch.OutOfMemoryError("CUDA out of memory"))
    assert not memory_is_out(OSError("/models/out of memory/x: no such file"))


@pytest.mark.parametrize("name", ["rows[1].jsonl", "r*ws.jsonl", "ROWS.JSONL"])
def test_a_file_that_is_called_as_a_pattern_is_or_in_capitals(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"a": 1}\n')
    assert read_table(tmp_path, name, None) == [{"a": 1}]
