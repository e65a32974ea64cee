"""Which code a package is: its version where it was released, else its commit or a hash of its sources. Imports none of
the packages."""

from __future__ import annotations

import ast
import base64
import contextlib
import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path

from harness.files import hash_of
from harness.host.cache import cache_folder, keep, kept

DIGITS = 12
"""Of a commit or a hash, in a version."""
LATER = 1.0
"""Seconds after an installation from which a file was changed by someone else."""


def version_of(
    name: str, module: str | None = None, stated: str | None = None, of: Callable[[bytes], bytes] = bytes
) -> str | None:
    """The version of the package that an import would find, None where there is none.

    Released, and imported from where it was installed: the version alone. Installed from a commit (PEP 610): with
    `git.<commit>`. Whatever else (an editable installation, a checkout on PYTHONPATH, a folder or file that was
    installed): with `src.<hash>` of its Python sources, which is the same wherever they lie. With `edited.<hash>` where
    installed files are not those of the package.

    `module`: what is imported, if it is not called as the package; `stated`: the version that it says it has; `of`: as
    of `sources_hash`.
    """
    spec = find_spec(module or name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    package = next(iter(Distribution.discover(name=name)), None)
    version = stated or (package.version if package else None)
    if not places:  # a single file stands in front of the package that was installed, or there is none
        file = Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
        return _with(version or "0", f"src.{hash_of(file.read_text(errors='replace'))[:DIGITS]}") if file else version
    folder = Path(places[0])
    record, origin = (package.read_text("RECORD"), package.read_text("direct_url.json")) if package else (None, None)
    try:
        source = json.loads(origin or "{}")
        commit = source.get("vcs_info", {}).get("commit_id")
    except (ValueError, AttributeError):
        source, commit = {"unreadable": True}, None
    if package is None or version is None or record is None or not _own(package, folder) or (source and not commit):
        return _with(version or "0", f"src.{sources_hash(folder, of)}")
    parts = [f"git.{commit[:DIGITS]}"] if commit else []
    return _with(version, *parts, *(f"edited.{each}" for each in _edits(package, folder, record)))


def _own(package: Distribution, folder: Path) -> bool:
    """The folder is where the distribution was installed, and not another of its name in front of it."""
    return Path(str(package.locate_file(folder.name))).resolve() == folder.resolve()


def _with(version: str, *parts: str) -> str:
    """A version with its local part, as PEP 440 writes it."""
    return version + "".join(("." if "+" in version or n else "+") + part for n, part in enumerate(parts))


def sources_hash(folder: Path, of: Callable[[bytes], bytes] = bytes) -> str:
    """First digits of the hash of the Python files below a folder: places in it and content, line ends aside. Where a
    package has none but compiled ones, of those.

    `of`: what of a Python file's text counts; `code` takes the package's other files as they are. The hash is kept in
    the cache, beside the files' sizes and times.
    """
    files = sorted(_files(folder, "" if of is code else ".py")) or sorted(_files(folder, ".pyc"))
    times = [[place, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for place, _, stat in files]
    slot = cache_folder() / "sources" / hash_of([str(folder), of.__name__, times])[:24]
    if (before := kept(slot)) is not None:
        return before
    digest = hashlib.sha256()
    for place, path, _ in files:
        content = Path(path).read_bytes().replace(b"\r\n", b"\n")
        content = of(content) if place.endswith(".py") else content
        digest.update(f"{place} {len(content)}\n".encode())
        digest.update(content)
    digits = digest.hexdigest()[:DIGITS]
    with contextlib.suppress(OSError):  # a cache that cannot be written to only costs time
        keep(slot, digits)
    return digits


def code(text: bytes) -> bytes:
    """What a Python file does: without comments, layout and docstrings. A file that cannot be parsed, or is nested too
    deeply to be written out, is all of it."""
    try:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]
        return ast.dump(tree).encode()
    except (SyntaxError, ValueError, RecursionError):
        return text


def _is_text(node: ast.AST) -> bool:
    """A text by itself, which says something to the reader alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _files(folder: Path, ending: str = ".py") -> Iterator[tuple[str, str, os.stat_result]]:
    """Files below a folder whose names end so: place in it, path, and what the file system says. Hidden ones, such as
    an editor's locks, are none, nor are compiled ones beside their sources."""
    left = [(str(folder), "")]
    while left:
        path, place = left.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__pycache__":
                    continue
                if entry.is_dir():
                    left.append((entry.path, f"{place}{entry.name}/"))
                elif entry.name.endswith(ending) and entry.is_file():
                    yield place + entry.name, entry.path, entry.stat()


def _edits(package: Distribution, folder: Path, record: str) -> list[str]:
    """A hash of the installed files that someone has changed, added or taken away, none where nobody has. Files that
    are not later than the installation's own record are taken for what it wrote."""
    rows = [row for row in csv.reader(record.splitlines()) if len(row) > 1]
    own = next((row[0] for row in rows if row[0].endswith(".dist-info/RECORD")), None)
    # A record that does not name itself says nothing of when: all files are looked at.
    written = Path(str(package.locate_file(own))).stat().st_mtime + LATER if own else 0.0
    files = list(_files(folder))
    late = [(place, path) for place, path, stat in files if stat.st_mtime > written]
    hashes = dict(row[:2] for row in rows)
    there = {f"{folder.name}/{place}" for place, _, _ in files}
    listed = (name for name in hashes if name.startswith(f"{folder.name}/") and name.endswith(".py"))
    edits = [[name, "taken away"] for name in sorted(listed) if name not in there and "/." not in name]
    for place, path in sorted(late):
        digest = hashlib.sha256(Path(path).read_bytes()).digest()
        if hashes.get(f"{folder.name}/{place}") != "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode():
            edits.append([place, digest.hex()])
    return [hash_of(edits)[:DIGITS]] if edits else []
