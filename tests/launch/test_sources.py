"""Which code a library is: two commits of it are two, and the same one is the same wherever it lies."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.host import environment
from harness.host.sources import code, sources_hash, version_of
from harness.places import ROOT
from harness.results.record import Record

NAME = "somelib"
FILES = {"__init__.py": "SCALE = 2\n", "tuners/lora.py": "def scaled(x):\n    return 2 * x\n"}
EDITABLE: dict[str, Any] = {"url": "file:///somewhere", "dir_info": {"editable": True}}


def sources(folder: Path, **changed: str) -> Path:
    """The package's files below a folder."""
    for place, text in FILES.items():
        path = folder / NAME / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changed.get(path.stem, text))
    return folder


def installed(site: Path, origin: dict[str, Any] | None = None, version: str = "1.0", record: bool = True) -> Path:
    """Metadata as pip writes them beside what it installs, its record last (PEP 376, PEP 610)."""
    folder = site / f"{NAME}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n")
    if origin:
        (folder / "direct_url.json").write_text(json.dumps(origin))
    rows = []
    for path in sorted(site.glob(f"{NAME}/**/*.py")):
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
        rows.append(f"{path.relative_to(site).as_posix()},sha256={digest},{path.stat().st_size}")
    if record:
        (folder / "RECORD").write_text("\n".join([*rows, f"{folder.name}/RECORD,,"]) + "\n")
    return site


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str | None]]:
    """The version where these folders are in front of the path."""

    def found(*places: Path) -> str | None:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "path", [*map(str, places), *sys.path])
            importlib.invalidate_caches()
            made = version_of(NAME)
            assert NAME not in sys.modules
            return made

    yield found
    importlib.invalidate_caches()


def commit(digits: str) -> dict[str, Any]:
    return {"url": "https://github.com/x/y", "vcs_info": {"vcs": "git", "commit_id": digits}}


def test_a_released_version_is_its_version(tmp_path: Path, found: Callable[..., str | None]) -> None:
    assert found(installed(sources(tmp_path))) == "1.0"
    assert version_of("sacrebleu") == environment.installed("sacrebleu")
    assert found() is None


def test_an_installed_commit(tmp_path: Path, found: Callable[..., str | None]) -> None:
    one, two = "0123456789abcdef" * 2, "fedcba9876543210" * 2
    assert found(installed(sources(tmp_path / "1"), commit(one))) == "1.0+git.0123456789ab"
    assert found(installed(sources(tmp_path / "2"), commit(two))) == "1.0+git.fedcba987654"
    assert found(installed(sources(tmp_path / "3"), commit(two), "2.0+cpu")) == "2.0+cpu.git.fedcba987654"


def test_an_editable_checkout_is_its_sources(tmp_path: Path, found: Callable[..., str | None]) -> None:
    """`pip install -e` leaves metadata alone where it installs; the package is imported from the checkout."""
    site = installed(tmp_path / "site", EDITABLE)
    one, same, other = sources(tmp_path / "a"), sources(tmp_path / "b" / "c"), sources(tmp_path / "d", lora="pass\n")
    made = found(one, site)
    assert re.fullmatch(r"1\.0\+src\.[0-9a-f]{12}", made or "")
    assert found(same, site) == made
    assert found(other, site) != made
    path = one / NAME / "tuners" / "lora.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))  # as Windows checks it out
    assert found(one, site) == made
    path.write_text(FILES["tuners/lora.py"].replace("2", "0"))  # of the same size
    assert found(one, site) != made
    path.write_text(FILES["tuners/lora.py"])
    assert found(one, site) == made
    (one / NAME / "__pycache__").mkdir()
    (one / NAME / "__pycache__" / "x.py").write_text("")
    (one / NAME / ".hidden.txt").write_text("")
    assert found(one, site) == made
    path.rename(path.with_name("dora.py"))
    assert found(one, site) != made


@pytest.mark.parametrize(
    "origin",
    [
        {"url": "file:///a/checkout", "dir_info": {}},
        {"url": "file:///a/wheel.whl", "archive_info": {"hashes": {"sha256": "00"}}},
    ],
)
def test_a_folder_or_file_that_was_installed(
    tmp_path: Path, found: Callable[..., str | None], origin: dict[str, Any]
) -> None:
    one = found(installed(sources(tmp_path / "1"), origin))
    two = found(installed(sources(tmp_path / "2", lora="pass\n"), origin))
    assert one != two
    assert (one or "").startswith("1.0+src.")


def test_a_checkout_in_front_of_what_is_installed(tmp_path: Path, found: Callable[..., str | None]) -> None:
    """On PYTHONPATH, with metadata of its own (egg-info) or without, or where nothing is installed."""
    site, front = installed(sources(tmp_path / "site")), sources(tmp_path / "front")
    made = found(front, site)
    assert (made or "").startswith("1.0+src.")
    (front / f"{NAME}.egg-info").mkdir()
    (front / f"{NAME}.egg-info" / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.1.dev0\n")
    assert (found(front, site) or "").startswith("1.1.dev0+src.")
    assert (made or "").partition("+")[2] == (found(front, site) or "").partition("+")[2]
    assert (found(sources(tmp_path / "alone")) or "").startswith("0+src.")
    assert (found(installed(sources(tmp_path / "norecord"), record=False)) or "").startswith("1.0+src.")


@pytest.mark.parametrize("origin", [None, commit("0" * 40)])
def test_installed_files_that_were_edited(
    tmp_path: Path, found: Callable[..., str | None], origin: dict[str, Any] | None
) -> None:
    site = installed(sources(tmp_path), origin)
    clean = found(site)
    path = site / NAME / "tuners" / "lora.py"
    later = path.stat().st_mtime + 60
    os.utime(path, (later, later))  # as after a copy that does not keep times
    assert found(site) == clean
    path.write_text(FILES["tuners/lora.py"].replace("2", "0"))
    os.utime(path, (later, later))
    one = found(site)
    assert re.fullmatch(rf"{re.escape(clean or '')}[+.]edited\.[0-9a-f]{{12}}", one or "")
    path.write_text(FILES["tuners/lora.py"].replace("2", "3"))
    os.utime(path, (later, later))
    assert found(site) != one
    path.write_text(FILES["tuners/lora.py"])
    os.utime(path, (later, later))
    assert found(site) == clean
    added = site / NAME / "added.py"
    added.write_text("")
    os.utime(added, (later, later))
    assert "edited" in (found(site) or "")


# The harness itself


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('"""Says more."""\n\ndef f(x):\n    """What."""\n    # why\n    return (x +\n            1)\n', True),
        ("def f(x):\n    return x + 2\n", False),
        ("def f(x):\n    return 1 + x\n", False),
        ('def f(x):\n    return x + 1\n\nTEXT = "used"\n', False),
    ],
)
def test_of_the_harness_what_it_does_counts(tmp_path: Path, text: str, same: bool) -> None:
    plain = tmp_path / "a" / "m.py"
    other = tmp_path / "b" / "m.py"
    for path, content in ((plain, "def f(x):\n    return x + 1\n"), (other, text)):
        path.parent.mkdir()
        path.write_text(content)
    assert (sources_hash(plain.parent, code) == sources_hash(other.parent, code)) == same
    assert sources_hash(plain.parent) != sources_hash(other.parent)
    other.write_text("def f(:\n")
    assert sources_hash(plain.parent, code) != sources_hash(other.parent, code)


VERSIONS = """
import sys
from harness.config.compose import compose_settings
from harness.host.environment import versions
print(versions()["peft"], versions()["harness"], compose_settings(["model=tiny_random", "data.size=100"]).run_id())
assert not {"torch", "peft", "transformers"} & set(sys.modules)
"""


def said(*places: Path) -> list[str]:
    """Versions of PEFT and the harness, and a run's id, in a process with these folders in front."""
    path = os.pathsep.join(map(str, (*places, ROOT)))
    surroundings = {**os.environ, "PYTHONPATH": path}
    surroundings.pop(environment.VERSIONS, None)
    answer = subprocess.run(
        [sys.executable, "-c", VERSIONS], cwd="/", env=surroundings, capture_output=True, text=True, check=True
    )
    return answer.stdout.split()


def test_a_changed_copy_of_peft_and_of_the_harness_are_other_runs(tmp_path: Path) -> None:
    spec = find_spec("peft")
    assert spec
    assert spec.origin
    library = tmp_path / "library"
    shutil.copytree(Path(spec.origin).parent, library / "peft")
    released, ours, run = said()
    assert ours.partition("+")[0] == harness.__version__
    before = said(library)
    assert before[0].startswith(f"{released.partition('+')[0]}+src.")
    layer = library / "peft" / "tuners" / "lora" / "layer.py"
    layer.write_text(layer.read_text() + "\nSCALING = 0\n")
    after = said(library)
    assert len({run, before[2], after[2]}) == len({released, before[0], after[0]}) == 3
    assert ours == before[1] == after[1]

    own = tmp_path / "own"
    for name in ("harness", "conf", "hydra_plugins", "sweeps"):
        shutil.copytree(ROOT / name, own / name, ignore=shutil.ignore_patterns("__pycache__"))
    changed = own / "harness" / "training" / "trainer.py"
    changed.write_text("# A comment.\n" + changed.read_text())
    assert said(own) == [released, ours, run]
    changed.write_text(changed.read_text().replace("WARM_UP = 3", "WARM_UP = 4"))
    assert said(own)[0] == released
    assert said(own)[1:] != [ours, run]


def test_a_run_is_of_the_versions_that_it_was_asked_with(run_point: Callable[..., Record]) -> None:
    """Its process is told them, so that files which change meanwhile do not part a record from its id."""
    record = run_point("method=zero_shot")
    assert record.status == "ok"
    assert record.key["environment"]["versions"] == environment.versions()


def test_an_editors_lock_is_no_source(tmp_path: Path, found: Callable[..., str | None]) -> None:
    """Emacs leaves a link to nowhere beside a file that is being edited."""
    before = found(sources(tmp_path))
    (tmp_path / NAME / ".#lora.py").symlink_to("me@host.1:2")
    (tmp_path / NAME / "gone.py").symlink_to(tmp_path / "nowhere.py")
    assert found(tmp_path) == before


def test_a_single_file_in_front_of_a_package(tmp_path: Path, found: Callable[..., str | None]) -> None:
    site = installed(sources(tmp_path / "site"))
    (tmp_path / "shim").mkdir()
    (tmp_path / "shim" / f"{NAME}.py").write_text("SCALE = 0\n")
    said = found(tmp_path / "shim", site)
    assert said is not None
    assert re.fullmatch(r"1\.0\+src\.[0-9a-f]{12}", said)


def test_a_file_that_was_taken_away(tmp_path: Path, found: Callable[..., str | None]) -> None:
    site = installed(sources(tmp_path))
    assert found(site) == "1.0"
    (site / NAME / "tuners/lora.py").unlink()
    said = found(site)
    assert said is not None
    assert re.fullmatch(r"1\.0\+edited\.[0-9a-f]{12}", said)


def test_the_harness_own_texts_belong_to_its_code(tmp_path: Path) -> None:
    """General text and panel are data of the package, which runs are measured on."""
    (tmp_path / "text.txt").write_text("The pub.")
    (tmp_path / "a.py").write_text("x = 1\n")
    before, other = sources_hash(tmp_path, code), sources_hash(tmp_path)
    (tmp_path / "text.txt").write_text("The bar.")
    assert sources_hash(tmp_path, code) != before
    assert sources_hash(tmp_path) == other


def test_a_time_that_is_put_back_hides_no_edit(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    before, stat = sources_hash(tmp_path), path.stat()
    path.write_text("x = 2\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert sources_hash(tmp_path) != before
