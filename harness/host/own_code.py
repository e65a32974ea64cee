"""What the Python of a user's own folders does, as far as a run uses it: a part of the run's key."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from importlib.util import resolve_name
from pathlib import Path

from harness.host.sources import DIGITS, code
from harness.places import OWN, own_file

OWN_CODE = "HARNESS_OWN_CODE"
"""Environment variable in which a process tells those that it starts what the hashes were, should files change."""


def own_code(modules: Iterable[str]) -> str | None:
    """First digits of the hash of what modules do, and those that they import or name in a text, as far as they lie in
    folders of one's own; None where none does. It stays what it was when a process first asked: its modules do too."""
    names = sorted(set(modules))
    asked = " ".join([os.environ.get(OWN, ""), *names])
    if asked not in _known():
        _known()[asked] = _hash_of(names)
    return _known()[asked]


def handed_on() -> str:
    """For OWN_CODE."""
    return json.dumps(_known())


@functools.cache
def _known() -> dict[str, str | None]:
    """The hashes by what was asked."""
    known: dict[str, str | None] = json.loads(os.environ.get(OWN_CODE, "{}"))
    return known


def _hash_of(names: Iterable[str]) -> str | None:
    """See `own_code`."""
    found: dict[str, bytes] = {}
    left = list(names)
    while left:
        name = left.pop()
        if name in found or (path := own_file(name)) is None:
            continue
        text = path.read_bytes().replace(b"\r\n", b"\n")
        found[name] = code(text)
        left += _named(text, name if path.name == "__init__.py" else name.rpartition(".")[0], path)
    if not found:
        return None
    digest = hashlib.sha256()
    for name, content in sorted(found.items()):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:DIGITS]


def _named(text: bytes, package: str, path: Path) -> Iterator[str]:
    """The modules, and what may be some, that a file names."""
    try:
        nodes = list(ast.walk(ast.parse(text, str(path))))
    except (SyntaxError, ValueError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
