"""What a user has who installed the package: its wheel in an environment of its own, and no checkout."""

from __future__ import annotations

import site
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.places import ROOT
from tests.support.installed import run, words_of


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the checkout, in which it leaves nothing."""
    folder = tmp_path_factory.mktemp("wheel")
    before = {path.name for path in ROOT.iterdir()}
    words = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    run(sys.executable, *words, cwd=folder)
    assert {path.name for path in ROOT.iterdir()} == before
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of scripts of an environment that has the wheel, and the libraries of this one."""
    place = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=place)
    python = place / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel, cwd=place)
    (packages,) = place.glob("lib/python*/site-packages")
    # Libraries alone: a folder that a .pth file names has its own .pth files, such as that of a checkout, unread.
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()))
    where = run(python, "-c", "import harness, reports; print(harness.__file__, reports.__file__)", cwd=place)
    assert where.count(str(packages)) == 2
    return place / "bin"


@pytest.fixture
def said(installed: Path, tmp_path: Path) -> Callable[..., str]:
    """Runs a line of the docs in an empty folder, by what is installed; of a training, little of it."""

    def one(line: str, *small: str, code: int = 0) -> str:
        name, *words = words_of(line)
        return run(installed / name, *words, *small, cwd=tmp_path, code=code)

    return one
