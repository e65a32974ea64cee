"""Where configurations and sweeps lie: in the package, in a checkout of it, and in folders of a user's own.

`--config-dir FOLDER` adds `FOLDER/method/*.yaml`, `FOLDER/data/*.yaml` and so on for every group, and
`FOLDER/sweeps/*.yaml`; and Python: what lies in one of `ROOMS` is a module of that package, so that
`FOLDER/method/mine.py` is `harness.methods.mine`. The environment carries the folders to a run's processes.
"""

from __future__ import annotations

import os
from collections.abc import MutableSequence, Sequence
from pathlib import Path

from harness.errors import UserError

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent
"""The checkout, where this is one."""


def _part(name: str) -> Path:
    """A folder of what the project ships: within the package where that was installed, beside it in a checkout."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else ROOT / name


CONF, SWEEPS = _part("conf"), _part("sweeps")

OWN = "HARNESS_CONFIG_DIR"
"""Environment variable of the folders of one's own, set apart as in PATH."""
FLAGS = ("--config-dir", "-cd")
ROOMS = {"method": "methods", "data": "data", "metrics": "metrics"}
"""Of a folder's parts that may hold Python: the package below `harness` that its files are modules of."""

_extended: dict[str, MutableSequence[str]] = {}
"""By package, once it has been imported: its `__path__`."""


def own_folders() -> list[Path]:
    """The folders of one's own."""
    return [Path(each) for each in os.environ.get(OWN, "").split(os.pathsep) if each]


def sweep_folders() -> list[Path]:
    """Where files of sweeps lie."""
    return [SWEEPS, *(folder / "sweeps" for folder in own_folders())]


def take_folders(words: Sequence[str]) -> list[str]:
    """The words without those that give folders of one's own, which are taken from now on. Raises UserError."""
    rest: list[str] = []
    given: list[str] = []
    left = iter(words)
    for word in left:
        flag, sign, value = word.partition("=")
        if flag not in FLAGS:
            rest.append(word)
            continue
        value = value if sign else next(left, "")
        if not value:
            raise UserError(f"{flag}: needs a folder; give {flag} FOLDER")
        given.append(value)
    folders = [Path(each).expanduser().resolve() for each in given]
    problems = [f"{OWN}={folder}: is no folder; correct or unset it" for folder in own_folders() if not folder.is_dir()]
    problems += [line for name, folder in zip(given, folders, strict=True) for line in _problems(name, folder)]
    if problems:
        raise UserError(*problems)
    os.environ[OWN] = os.pathsep.join(dict.fromkeys(map(str, [*own_folders(), *folders])))
    for package, path in _extended.items():
        extend(package, path)
    return rest


def extend(package: str, path: MutableSequence[str]) -> None:
    """Have modules of `harness.PACKAGE`, whose `__path__` this is, found in folders of one's own too."""
    _extended[package] = path
    rooms = [str(folder / room) for folder in own_folders() for room, of in ROOMS.items() if of == package]
    path.extend(room for room in rooms if room not in path)


def own_file(module: str) -> Path | None:
    """The file of a module that lies in a folder of one's own; None where it lies in none."""
    names = module.split(".")
    if len(names) < 3 or names[0] != PACKAGE.name or not all(name.isidentifier() for name in names):
        return None
    rooms = [folder / room for folder in own_folders() for room, package in ROOMS.items() if package == names[1]]
    places = [room.joinpath(*names[2:]) for room in rooms]
    # Of one name Python takes the package. `os.path` says no of a name that is too long.
    files = [file for place in places for file in (place / "__init__.py", place.with_suffix(".py"))]
    return next((file for file in files if os.path.isfile(file)), None)


def _problems(given: str, folder: Path) -> list[str]:
    """Why a folder cannot be one of one's own, a line each."""
    if not folder.is_dir():
        return [f"--config-dir {given}: is no folder; python -m harness init FOLDER writes one with examples"]
    if os.pathsep in str(folder):
        return [f"--config-dir {given}: a name with {os.pathsep} cannot be given; rename the folder"]
    files = sorted(each for each in folder.rglob("*") if each.suffix in {".yaml", ".py"} and each.is_file())
    if not any(len(each.relative_to(folder).parts) > 1 for each in files):
        return [f"--config-dir {given}: has no method/*.yaml, data/*.yaml, sweeps/*.yaml …; see docs/own.md"]
    return [
        f"{each}: the harness has a file of that name itself; rename yours"
        for each in files
        if (shipped := _shipped(each.relative_to(folder))) and shipped.exists() and each.name != "__init__.py"
    ]


def _shipped(name: Path) -> Path | None:
    """The file of the project's own that one of this name would stand beside."""
    first, *others = name.parts
    if name.suffix == ".py":
        return PACKAGE.joinpath(ROOMS[first], *others) if first in ROOMS else None
    return (SWEEPS if first == "sweeps" else CONF / first).joinpath(*others)
