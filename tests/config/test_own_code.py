"""The code of a folder of one's own is part of the keys of the runs that use it, and of no others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import places
from harness.config.validate import own_class
from harness.errors import UserError
from harness.host import own_code
from harness.places import OWN, own_file, take_folders
from harness.results.folder import read_record
from harness.results.record import Record
from tests.config.test_own_folder import FAST, command
from tests.support.tiny import settings

FILES = {
    "method/changed.py": "from typing import ClassVar\n"
    "from harness.methods.lora import Lora\n"
    "from harness.methods._scale import SCALE\n"
    "class Changed(Lora):\n    layers: ClassVar[str] = 'harness.methods._layers'\n",
    "method/changed.yaml": "{_target_: harness.methods.changed.Changed, name: changed, lr: 1.0e-3, rank: 2, "
    "alpha: 2.0, dropout: 0.0, default_roles: [q]}\n",
    "method/_scale.py": "SCALE = 1\n",
    "method/_layers.py": "class Layer: ...\n",
    "method/_unused.py": "a = 1\n",
    "data/pairs.py": "from .restaurants import X\n",
    "metrics/words.py": "from . import _stem\ndef compute(predictions, references, sources=None): return {}\n",
    "metrics/_stem.py": "def stem(word): return word\n",
    "metrics/others.py": "def compute(predictions, references, sources=None): return {}\n",
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of one's own, taken, and let go."""
    paths = {package: list(path) for package, path in places._extended.items()}
    monkeypatch.setenv(OWN, "")
    for name, text in FILES.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    take_folders(["--config-dir", str(tmp_path / "mine")])
    yield tmp_path / "mine"
    for package, before in paths.items():
        places._extended[package][:] = before


@pytest.mark.parametrize(
    ("file", "text", "differ"),
    [
        ("method/changed.py", FILES["method/changed.py"] + "    extra = 2\n", {"method"}),
        ("method/_scale.py", "SCALE = 2\n", {"method"}),
        ("method/_layers.py", "class Layer:\n    size = 2\n", {"method"}),
        ("method/_unused.py", "a = 2\n", set()),
        ("method/_scale.py", '"""Says what it is."""\n\n# and why\nSCALE   = 1\n', set()),
        ("metrics/_stem.py", "def stem(word): return word[:4]\n", {"metric"}),
        ("metrics/words.py", FILES["metrics/words.py"] + "more = 1\n", {"metric"}),
        ("metrics/others.py", "def compute(predictions, references, sources=None): return 1\n", set()),
        ("metrics/words.py", "def compute(:\n", {"metric"}),
        ("method/__init__.py", "raise ImportError('never imported')\n", set()),
        ("method/_scale/__init__.py", "SCALE = 2\n", {"method"}),  # Python takes the package of two of one name
    ],
)
def test_a_change_reaches_what_uses_the_file(mine: Path, file: str, text: str, differ: set[str]) -> None:
    used = {
        "method": ["harness.methods.changed"],
        "metric": ["harness.metrics.words"],
        "shipped": ["harness.methods.lora"],
    }

    def hashes() -> dict[str, str | None]:
        own_code._known.cache_clear()  # as another process would
        return {name: own_code.own_code(modules) for name, modules in used.items()}

    before = hashes()
    assert before["shipped"] is None
    assert before["method"] is not None
    assert before["metric"] is not None
    (mine / file).parent.mkdir(exist_ok=True)
    (mine / file).write_text(text)
    assert own_code.own_code(used["method"]) == before["method"], "a process keeps what it has imported"
    after = hashes()
    assert {name for name in used if before[name] != after[name]} == differ


def test_a_package_runs_before_what_lies_in_it(mine: Path) -> None:
    package = mine / "method/family"
    package.mkdir()
    (package / "one.py").write_text("x = 1\n")
    found = set()
    for text in ("", "import torch\n", "import json\n"):
        (package / "__init__.py").write_text(text)
        own_code._known.cache_clear()
        found.add(own_code.own_code(["harness.methods.family.one"]))
    assert len(found) == 3


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    from ..... import x\nexcept ImportError:\n    x = 1\n",
        "x = " + " + ".join("1" * 1500),
        "if x == 0:\n    y = 0\n" + "".join(f"elif x == {i}:\n    y = {i}\n" for i in range(500)),
        f"x = 'harness.methods.{'a' * 300}'\n",
    ],
    ids=["beyond the harness", "a long sum", "many branches", "a long name"],
)
def test_whatever_python_takes_has_a_hash(mine: Path, text: str) -> None:
    (mine / "method/odd.py").write_text(text)
    compile(text, "odd.py", "exec")
    assert own_code.own_code(["harness.methods.odd"]) is not None


def test_modules_are_found_where_they_lie(mine: Path) -> None:
    assert own_file("harness.methods.changed") == mine / "method/changed.py"
    assert own_file("harness.metrics._stem") == mine / "metrics/_stem.py"
    for name in (
        "harness.methods.lora",
        "harness.methods",
        "harness.metrics.changed",
        "os.path",
        "",
        "harness.methods.",
    ):
        assert own_file(name) is None, name
    for name in ("harness.methods./etc/passwd", "harness.methods.changed.py", "harness.data.../../method/changed"):
        assert own_file(name) is None, name


def test_no_run_without_code_of_ones_own_has_another_key(mine: Path) -> None:
    assert "own_code" not in json.dumps(settings("method=lora").key())
    known = settings("method=changed", "data.metrics=[words]").key()
    assert known["settings"]["method"]["own_code"]
    assert known["data"]["own_code"]
    assert "own_code" not in settings("method=lora", "data.metrics=[others,bleu]").key()["settings"]["method"]


def test_a_plan_is_made_anew_where_the_method_has_changed(tmp_path: Path) -> None:
    assert command("init", "mine", cwd=tmp_path).returncode == 0
    method = tmp_path / "mine/method/value_weights.py"
    words = ("plan", "--config-dir", "mine", "method=value_weights", "data=sums", *FAST, "plan.format=json")

    def trained() -> int:
        ran = command(*words, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        return int(re.findall(r'"trainable_parameters": (\d+)', ran.stdout)[0])

    both = trained()
    method.write_text(method.read_text().replace("return values[", "return values[1"))
    assert trained() * 2 == both, "the value projections of one layer of two"


REWRITES = """
from pathlib import Path
from harness.methods.lora import Lora
class Rewrites(Lora):
    def after_step(self, model, step):
        metric = Path(__file__).parents[1] / "metrics/digits.py"
        metric.write_text(metric.read_text().replace("100.0 * ", "50.0 + 50.0 * "))
"""


def test_a_change_on_the_way_reaches_no_run_of_the_former_key(tmp_path: Path) -> None:
    assert command("init", "mine", cwd=tmp_path).returncode == 0
    (tmp_path / "mine/method/rewrites.py").write_text(REWRITES)
    own = FILES["method/changed.yaml"].replace("harness.methods.changed.Changed", "harness.methods.rewrites.Rewrites")
    (tmp_path / "mine/method/rewrites.yaml").write_text(own.replace("changed", "rewrites"))
    words = ("--config-dir", "mine", "-m", "method=rewrites", "data=sums", "seed=0,1", "results=results", *FAST)
    ran = command(*words, cwd=tmp_path)
    assert ran.returncode == 1, ran.stderr
    records = [read_record(path) for path in tmp_path.glob("results/runs/*/record.json")]
    done, refused = sorted(records, key=lambda record: record.key["settings"]["seed"])
    assert done.status == "ok"
    assert done.quality["digits"] == done.base_quality["digits"] == 0, "after the change it is at least 50"
    assert refused.status == "error"
    assert refused.cause is not None
    assert refused.cause.startswith(str(tmp_path / "mine/data/sums.py"))
    assert "changed, or what is imported there, since the command began; give it again" in refused.cause
    generate = ("generate", "--config-dir", "mine", "--adapters", done.id, "--prompt", "1 + 2 =")
    changed = f"warning: {done.label} ({done.id}): the code of its method has changed since it was trained\n"
    assert changed not in command(*generate, cwd=tmp_path).stderr
    (tmp_path / "mine/method/rewrites.py").write_text(REWRITES + "EXTRA = 1\n")
    answered = command(*generate, cwd=tmp_path)
    assert answered.returncode == 0, answered.stderr
    assert changed in answered.stderr


def test_a_class_from_elsewhere_needs_one_of_ones_own(mine: Path) -> None:
    (mine / "method/shim.py").write_text(
        "from harness.methods.lora import Lora\nfrom harness.methods.changed import Changed\nclass Mine(Lora): ...\n"
    )
    assert own_class("harness.methods.shim.Mine").__module__ == "harness.methods.shim"
    assert own_class("harness.methods.shim.Changed").__module__ == "harness.methods.changed"
    with pytest.raises(UserError, match=r"^harness.methods.shim.Lora: is harness.methods.lora.Lora; write one"):
        own_class("harness.methods.shim.Lora")


def test_a_changed_metric_scores_the_run_and_its_base_anew(tmp_path: Path) -> None:
    assert command("init", "mine", cwd=tmp_path).returncode == 0
    words = ("--config-dir", "mine", "method=lora", "data=sums", "results=results", *FAST)
    file = tmp_path / "mine/metrics/digits.py"
    own = file.read_text()
    found: dict[str, Record] = {}

    def run(text: str) -> list[Record]:
        file.write_text(text)
        assert (ran := command(*words, cwd=tmp_path)).returncode == 0, ran.stderr
        records = {path.parent.name: read_record(path) for path in tmp_path.glob("results/runs/*/record.json")}
        new = [record for name, record in records.items() if name not in found]
        found.update(records)
        return new

    (before,) = run(own)
    assert run(own + "\n# percent\n") == [], "a comment makes no other run"
    (after,) = run(own.replace("100.0 * ", "50.0 + 50.0 * "))
    for name in ("quality", "base_quality"):
        assert getattr(after, name)["digits"] == pytest.approx(50 + getattr(before, name)["digits"] / 2), name
    assert after.quality["val_loss"] == before.quality["val_loss"]
