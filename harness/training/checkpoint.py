"""A checkpoint on disk: written whole or not at all, and read only where it is the run's own and as it was written."""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.errors import first_line
from harness.files import open_regular

ASIDE = ".damaged"
"""What a checkpoint that is of no use is called instead, for whoever wants to look at it."""


class Damaged(Exception):
    """A checkpoint from which training cannot go on; the message says why in a few words."""


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write the checkpoint of the run whose folder `path` lies in. torch's file holds a CRC-32 of each tensor."""
    temporary = path.with_suffix(".partial")
    try:
        torch.save({"run": path.parent.name, **content}, temporary)
    except RuntimeError as error:  # as torch says that the disk, or the limit of a file's size, is full
        raise OSError(errno.EIO, f"the checkpoint cannot be written ({first_line(error)})", str(path)) from None
    temporary.replace(path)


def read(path: Path, like: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """What `write` wrote there. `like`: such a checkpoint of the run before it has trained. Raises Damaged."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            bad = archive.testzip()
        content = None if bad else torch.load(path, map_location=device, weights_only=True)
    except zipfile.BadZipFile:
        raise Damaged("it is not a whole file") from None
    except Exception as error:  # of any kind; torch's advice to trust the file all the same is not repeated
        raise Damaged(f"it cannot be read ({type(error).__name__})") from None
    why = f"{bad} does not match its checksum" if bad else _unlike(content, {"run": path.parent.name, **like})
    if why:
        raise Damaged(why)
    assert content is not None
    return dict(content)


def _unlike(content: Any, like: Mapping[str, Any]) -> str | None:
    """Why this is no checkpoint of that run."""
    if not isinstance(content, dict) or content.keys() != like.keys():
        return "it has other parts"
    if content["run"] != like["run"]:
        return "it is another run's"
    if not isinstance(content["state"], dict) or content["state"].keys() != like["state"].keys():
        return "its state has other parts"
    if _shapes(content["weights"]) != _shapes(like["weights"]):
        return "it has other tensors"
    return None


def _shapes(tensors: Any) -> Any:
    """Names, shapes and dtypes."""
    if not isinstance(tensors, dict):
        return None
    return {
        name: (tuple(each.shape), each.dtype) if isinstance(each, torch.Tensor) else None
        for name, each in tensors.items()
    }


def set_aside(path: Path, why: str) -> str:
    """Give a checkpoint that is of no use another name; a line that says so."""
    aside = path.with_name(path.name + ASIDE)
    path.replace(aside)
    return f"the checkpoint cannot be used ({why}); set aside as {aside}, training starts anew"
