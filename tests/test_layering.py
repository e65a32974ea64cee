"""Who may import whom (what `lint-imports` does not say), what may be slow to import, and how large a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from harness.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
CATALOGUES = {"methods", "metrics", "data", "commands", "figures"}
"""Rooms that have a file for each thing of a kind."""
HYDRA = ("config/", "commands/", "launch/run_once.py", "launch/job.py")
"""Places in harness/ that may know Hydra; the last two carry a configuration, unread."""


def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def starts(names: set[str], *prefixes: str) -> set[str]:
    return {name for name in names if any(name == p or name.startswith(p + ".") for p in prefixes)}


def loaded(code: str) -> str:
    """What a new Python prints."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_imports_are_in_one_direction() -> None:
    """As `make lint` looks at them."""
    tool = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run([tool], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout


def test_what_is_private_to_a_room_is_imported_in_it_alone() -> None:
    """A file whose name begins with `_` is none of its catalogue's kind, and no secret."""
    for path in [*files("harness"), *files("reports")]:
        room = ".".join(path.relative_to(ROOT).with_suffix("").parts[:2])
        private = {name for name in starts(imported(path), "harness", "reports") if name.rpartition(".")[2][:1] == "_"}
        others = private - starts(private, room)
        assert all((ROOT / name.replace(".", "/")).with_suffix(".py").exists() for name in others), (path, others)


def test_torch_is_not_needed_to_read_or_to_decide() -> None:
    lazy = ("results", "metrics", "host", "config", "commands/__init__.py")
    for path in [each for part in lazy for each in files(f"harness/{part}")]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
                assert not starts(names, "torch", "transformers", "peft"), path
    code = (
        "import sys, harness.commands.run, reports.__main__\n"
        "print(sorted({'torch', 'transformers', 'peft', 'wandb'} & set(sys.modules)))"
    )
    assert loaded(code) == "[]\n"


def test_only_the_command_line_the_configuration_and_the_worker_touch_hydra() -> None:
    for path in files("harness"):
        if not str(path.relative_to(ROOT / "harness")).startswith(HYDRA):
            assert not starts(imported(path), "hydra", "omegaconf"), path


def test_a_worker_has_imported_what_its_runs_would() -> None:
    """Each would otherwise import it anew, for seconds, and count it as memory of its training."""
    code = "import sys\nfrom harness.launch.server import preload\npreload()\nbefore = set(sys.modules)\n"
    code += "from harness.launch.job import do\nimport harness.memory.planner\nprint(sorted(set(sys.modules) - before))"
    assert loaded(code) == "[]\n"


def test_files_stay_small() -> None:
    for folder in ("harness", "reports", "hydra_plugins", "benchmarks"):
        for path in files(folder):
            assert len(path.read_text().splitlines()) <= 350, path


@pytest.mark.parametrize("folder", ["harness", "reports"])
def test_rooms_stay_small(folder: str) -> None:
    for room in (ROOT / folder).iterdir():
        if room.is_dir() and room.name not in CATALOGUES:
            assert len([path for path in room.glob("*.py") if path.name != "__init__.py"]) <= 15, room


def test_the_help_names_every_command() -> None:
    footer = (ROOT / "conf/config.yaml").read_text().partition("footer:")[2]
    assert {line.split()[0] for line in footer.splitlines() if line.startswith("        ")} == COMMANDS.keys() - {"run"}
