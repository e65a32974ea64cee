"""Whatever is wrong with a command is told in a line for each problem, with the remedy, before anything is trained."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.host.environment import gpu_name
from harness.results.record import Record
from tests.support.command_line import SMALL, TINY, Harness
from tests.support.problems import problems


def check(result: subprocess.CompletedProcess[str], count: int = 1) -> list[str]:
    """The error lines of a refused command: `count` of them, nothing else on stderr, exit code 2, no traceback."""
    lines = result.stderr.splitlines()
    assert result.returncode == 2, result.stderr
    assert len(lines) == count, result.stderr
    assert all(line.startswith("error: ") for line in lines)
    assert "Traceback" not in result.stdout + result.stderr
    return lines


@pytest.mark.parametrize(
    ("overrides", "names", "remedy"),
    [
        (["train.step=3"], "train.step:", "train.steps"),
        (["+train.step=3"], "train.step:", "train.steps"),
        (["steps=3"], "steps:", "train.steps"),
        (["trian.steps=3"], "trian.steps:", "train.steps"),
        (["colour=red"], "colour:", "choose from: budget, data, device"),
        (["method=lorra"], "method=lorra", "lora"),
        (["method=zzz"], "method=zzz", "loha, lokr"),
        (["targets.roles=[qq]"], "=qq", "'q', 'k', 'v', 'o', 'gate', 'up', 'down' or 'embeddings'"),
        (["targets.roles=[]"], "targets.roles", "at least one"),
        (["method.rank=0"], "method.rank=0", "greater than or equal to 1"),
        (["method.rank=-1"], "method.rank=-1", "greater than or equal to 1"),
        (["method.rank=eight"], "method.rank=eight", "integer"),
        (["method.rank=1000000000"], "method.rank=1000000000", "less than or equal to"),
        (["method.rank=10**9"], "method.rank=10**9", "integer"),
        (["method.rank=["], "method.rank=[", "key=value"),
        (["method=ia3", "method.rank=8"], "method.rank: method=ia3", "method.lr"),
        (["method=ia3", "+method.rank=8"], "method.rank=8: ", "ia3 has no rank"),
        (["method=prompt_tuning", "targets=mlp"], "prompt_tuning", "leave targets out"),
        (["method=full", "quantization=nf4"], "quantization=nf4", "quantization=none"),
        (["quantization=nf5"], "quantization=nf5", "nf4"),
        (["train.steps=0"], "train.steps=0", "greater than or equal to 1"),
        (["train.batch_size=0"], "train.batch_size=0", "greater than or equal to 1"),
        (["train.warmup_steps=6"], "train.warmup_steps=6", "train.steps=6"),
        (["train.time_limit=-1"], "train.time_limit=-1", "greater than 0"),
        (["method.r=16"], "method.r:", "did you mean method.rank?"),
        (["train.num_train_epochs=3"], "train.num_train_epochs:", "did you mean train.epochs?"),
        (["train.learning_rate=1e-3"], "train.learning_rate:", "did you mean method.lr?"),
        (["targets.target_modules=[q_proj]"], "targets.target_modules:", "did you mean targets.modules?"),
        (["seeds=0,1"], "seeds: unknown key", "did you mean seed?"),
        (["+seeds=0,1"], "seeds: unknown key", "did you mean seed?"),
        (["seed=0,1"], "seed=0,1: gives several values", "-m"),
        (["method=lora,ia3"], "method=lora,ia3: gives several values", "-m"),
        (["train.time_limit=inf"], "train.time_limit=inf", "finite number"),
        (["method.lr=inf"], "method.lr=inf", "finite number"),
        (["method.lr=nan"], "method.lr=nan", "finite number"),
        (["train.weight_decay=inf"], "train.weight_decay=inf", "finite number"),
        (["train.clip_norm=inf"], "train.clip_norm=inf", "finite number"),
        (["eval.length_penalty=-inf"], "eval.length_penalty=-inf", "finite number"),
        (["data.prompt='{{ 1 // 0 }}{{ source }}'"], "data.prompt", "division"),
        (["data.prompt='{{ source.x.y }}'"], "data.prompt", "no attribute"),
        (["data.prompt='{{ source[1:](2) }}'"], "data.prompt", "not callable"),
        (["data.prompt='{% for i in range(10**9) %}{{ source }}{% endfor %}'"], "data.prompt", "too big"),
        (["eval.paraphrases=['{{ 1 // 0 }}{{ source }}']"], "eval.paraphrases", "division"),
        (["seed=abc"], "seed=abc", "integer"),
        (["force=perhaps"], "force=perhaps", "boolean"),
        (["train=3"], "train=3", "dictionary"),
        (["model=hub"], "model.id", "model.id="),
        (["model=path", "model.path=/nothing/here"], "/nothing/here", "save_pretrained"),
        (["data.size=1"], "data.size", "30"),
        (["forgetting.text=/nothing/here"], "/nothing/here", "embedded"),
        (["forgetting.panel=/nothing/here"], "/nothing/here", "embedded"),
        (["forgetting.window=64", "forgetting.stride=65"], "forgetting.stride=65", "forgetting.window=64"),
        (["eval.score=best", "train.validate_every=null"], "eval.score=best", "train.validate_every"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_one_line_names_the_problem_and_the_remedy(overrides: list[str], names: str, remedy: str) -> None:
    (line,) = problems(*(SMALL if "model=" not in overrides[0] else TINY[1:]), *overrides)
    assert names in line
    assert remedy in line
    assert "\n" not in line


@pytest.mark.skipif(gpu_name() is not None, reason="there is a GPU")
def test_a_gpu_that_is_not_there() -> None:
    (line,) = problems(*SMALL, "device=cuda")
    assert "device=cuda" in line
    assert "device=cpu" in line


def test_all_problems_come_at_once() -> None:
    lines = problems(*SMALL, "train.steps=0", "method.rank=eight", "seed=abc", "+eval.beam=2")
    assert [line.split(":")[0] for line in lines] == ["method.rank=eight", "train.steps=0", "eval.beam", "seed=abc"]


MR = "name[Aromi], eatType[pub]"
GOOD = f'mr,ref\n"{MR}",Aromi is a pub.\n'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"mr,ref\n", "no rows"),
        (f"mr\n{MR}\n".encode(), "needs the columns mr and ref"),
        ("mr,ref\nname[Café],A café.\n".encode("latin-1"), "not UTF-8"),
        (f'{GOOD}"{MR}",\n'.encode(), "line 3: there is no reference"),
        (f"{GOOD},A pub.\n".encode(), "line 3: there is no MR"),
    ],
)
def test_a_bad_csv_is_named_with_its_line(tmp_path: Path, content: bytes | None, says: str) -> None:
    for name in ("devset.csv", "testset_w_refs.csv", "trainset.csv"):
        (tmp_path / name).write_text(GOOD, encoding="utf-8")
    path = tmp_path / "trainset.csv"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    (line,) = problems(*TINY, "data=e2e", f"data.path={tmp_path}")
    assert str(path) in line
    assert says in line


def test_e2e_needs_a_source() -> None:
    (line,) = problems(*TINY, "data=e2e")
    assert "data.path" in line


@pytest.mark.parametrize(
    ("arguments", "count", "says"),
    [
        (["train.step=3"], 1, "train.steps"),
        (["+train.step=3", "seed=abc"], 2, "train.steps"),
        (["method=lorra"], 1, "did you mean lora?"),
        (["method.rank=["], 1, "method.rank=["),
        (["method.rank=8,16"], 1, "-m"),
        (["-m", "method.rank=0,8", "seed=1,abc"], 2, "seed=abc"),
        (["+sweep=quickstrat"], 1, "did you mean quickstart?"),
        (["-m", "seed=range(0,10000)"], 1, "10,000 points"),
        (["-m", "seed=range(0,1000)", "repeat=range(0,1000)"], 1, "1,000,000 points"),
    ],
)
def test_the_command_line_refuses(harness: Harness, arguments: list[str], count: int, says: str) -> None:
    lines = check(harness(*arguments), count)
    assert any(says in line for line in lines)
    assert not harness.results.exists()


@pytest.mark.parametrize("many", [["-m", "seed=0,1"], []])
def test_a_results_folder_that_cannot_be_written(harness: Harness, tmp_path: Path, many: list[str]) -> None:
    (tmp_path / "file").touch()
    (line,) = check(harness(f"results={tmp_path}/file/x", *many))
    assert f"results={tmp_path}/file/x" in line
    (line,) = check(harness("results=/proc/x", *many))
    assert "results=/proc/x" in line


def test_a_prompt_longer_than_the_context(run_point: Callable[..., Record]) -> None:
    record = run_point("model.context=50")
    assert (record.status, record.user_error) == ("error", True)
    assert "context of 50" in (record.cause or "")
    assert "eval.max_new_tokens" in (record.cause or "")


def test_a_model_that_cannot_be_quantized(run_point: Callable[..., Record]) -> None:
    record = run_point("quantization=nf4")
    assert (record.status, record.user_error) == ("error", True)
    assert "quantization=none" in (record.cause or "")


HUB = ("model=hub", "model.id=nobody/nothing-here", *TINY[1:], "data.size=100")


def test_a_hub_model_without_a_network(harness: Harness) -> None:
    (line,) = check(harness(small=HUB))
    assert "nobody/nothing-here" in line
    assert "check the name" in line
    (record,) = harness.records().values()
    assert record.status == "error"


@pytest.mark.parametrize("argument", ["=3", "+=3", f"seed={'9' * 5000}"])
@pytest.mark.parametrize("many", [[], ["-m"]])
def test_what_hydra_cannot_take_is_one_line(argument: str, many: list[str], harness: Harness) -> None:
    (line,) = check(harness(*many, argument))
    assert "cannot be read (" in line
    assert line.endswith("it must be key=value in Hydra's grammar")
    assert len(line) < 2100
