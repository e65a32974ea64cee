"""Who may import whom, and what may be slow to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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


def test_metrics_and_results_import_neither_torch_nor_hydra() -> None:
    for path in [*files("harness/metrics"), ROOT / "harness/results.py", ROOT / "harness/sections.py"]:
        assert not starts(imported(path), "torch", "hydra", "omegaconf", "transformers", "peft"), path


@pytest.mark.parametrize("part", ["methods", "models", "data", "measure"])
def test_parts_know_nothing_of_each_other(part: str) -> None:
    others = {f"harness.{name}" for name in ("methods", "models", "data", "measure") if name != part}
    for path in files(f"harness/{part}"):
        assert not starts(imported(path), *others, "harness.run", "harness.config"), path


def test_only_the_command_line_the_configuration_and_the_worker_touch_hydra() -> None:
    allowed = {"__main__.py", "config.py", "point.py", "worker.py"}  # the last two carry a configuration, unread
    for path in files("harness"):
        if path.name not in allowed:
            assert not starts(imported(path), "hydra", "omegaconf"), path


def test_reports_import_results_and_metrics_alone() -> None:
    for path in files("reports"):
        ours = starts(imported(path), "harness")
        allowed = starts(ours, "harness.results", "harness.sections", "harness.metrics", "harness.errors") | {"harness"}
        assert ours <= allowed, (path, ours - allowed)


def test_deciding_imports_no_torch() -> None:
    code = (
        "import sys, harness.__main__, reports.__main__\n"
        "print(sorted({'torch', 'transformers', 'peft', 'wandb'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_files_stay_small() -> None:
    for folder in ("harness", "reports", "hydra_plugins", "benchmarks"):
        for path in files(folder):
            assert len(path.read_text().splitlines()) <= 400, path
