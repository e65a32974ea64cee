"""Checksums of what a finished run has left: `SHA256SUMS` in its folder, which `sha256sum -c SHA256SUMS` reads too.

What a disk, a copy or an editor has changed since is distinguished from what the run wrote, whoever reads it later. A
folder without the file, as an earlier version made it, is taken as it is.
"""

from __future__ import annotations

import hashlib
from fnmatch import fnmatch
from pathlib import Path

from harness.files import sha256_of, write_atomically

NAME = "SHA256SUMS"
FILES = ("record.json", "config.json", "*.jsonl", "ledger.json", "adapter/**/*")
"""What has one; a log is written to, and a kept model's identity is its own hash."""


def seal(folder: Path) -> None:
    """Note the checksums of a run's files as they are now. The first line is that of all others."""
    paths = sorted({path for pattern in FILES for path in folder.glob(pattern) if path.is_file()})
    text = "".join(f"{sha256_of(path)}  {path.relative_to(folder)}\n" for path in paths)
    write_atomically(folder / NAME, f"# {hashlib.sha256(text.encode()).hexdigest()}\n{text}")


def unseal(folder: Path) -> None:
    """Forget them, before something is written anew."""
    (folder / NAME).unlink(missing_ok=True)


def changed(folder: Path, *patterns: str) -> str | None:
    """The first of the run's files that these patterns match and that is not as the run left it. One that is not there
    is not changed; where the checksums are damaged, or not there, nothing can be told: None."""
    for name, digest in _noted(folder).items():
        if any(fnmatch(name, pattern) for pattern in patterns) and (folder / name).exists():
            try:
                if sha256_of(folder / name) != digest:
                    return name
            except OSError:
                return name
    return None


def _noted(folder: Path) -> dict[str, str]:
    """By file: its checksum."""
    try:
        first, _, text = (folder / NAME).read_text(encoding="utf-8").partition("\n")
    except (OSError, ValueError):
        return {}
    if first != f"# {hashlib.sha256(text.encode()).hexdigest()}":
        return {}
    parts = (line.partition("  ") for line in text.splitlines())
    return {name: digest for digest, _, name in parts}
