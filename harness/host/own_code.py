"""What the Python of a user's own folders does, as far as a run uses it: a part of the run's key."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path

from harness.errors import UserError
from harness.host.sources import DIGITS, code
from harness.places import OWN, own_file

OWN_CODE = "HARNESS_OWN_CODE"
"""Environment variable in which a process tells those that it starts what the hashes were, should files change."""

_asked: dict[str, list[str]] = {}
"""The modules that this process has asked for, by what it is called in `_known`."""


def own_code(modules: Iterable[str]) -> str | None:
    """First digits of the hash of what modules do, and those that they import or name in a text, as far as they lie in
    folders of one's own; None where none does. It stays what it was when a process first asked: its modules do too."""
    names = sorted(set(modules))
    asked = " ".join([os.environ.get(OWN, ""), *names])
    _asked[asked] = names
    known = _known()
    if asked not in known:
        known[asked] = _hash_of(names)
    return known[asked]


def handed_on() -> str:
    """For OWN_CODE."""
    return json.dumps(_known())


def refuse_changed() -> None:
    """Raise UserError where the code that this process has asked for is not that any more of which it was told the
    hash: what it does would not be what the run's key says."""
    for asked, names in _asked.items():
        if _hash_of(names) != _known()[asked]:
            files = ", ".join(str(path) for name in names if (path := own_file(name))) or os.environ[OWN]
            raise UserError(
                f"{files}: changed, or what is imported there, since the command began; give it again, and it runs as "
                "it is now (in a notebook, restart the kernel first)"
            )


def take_up() -> None:
    """Import the modules of one's own that this process has asked for: a later change does not reach it."""
    for name in {name for names in _asked.values() for name in names if own_file(name)}:
        import_module(name)


@functools.cache
def _known() -> dict[str, str | None]:
    """The hashes by what was asked."""
    known: dict[str, str | None] = json.loads(os.environ.get(OWN_CODE) or "{}")
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
        left.append(name.rpartition(".")[0])  # a package's __init__.py runs before what lies in it
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
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            try:
                base = resolve_name("." * node.level + base, package) if node.level else base
            except ImportError:  # beyond the harness: it says so where it runs, if it does
                continue
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
