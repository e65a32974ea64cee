"""Amounts of memory as people write them."""

from __future__ import annotations

import re

from harness.errors import UserError

UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def budget_bytes(text: str, setting: str) -> int:
    """Bytes of a budget such as `24GiB`, given for a setting of that name. Raises UserError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(KiB|MiB|GiB|TiB)", text)
    if found and float(found[1]) > 0:
        return int(float(found[1]) * UNITS[found[2]])
    number = re.match(r"-?\d+(?:\.\d+)?", text)
    if number is None:
        why, example = "is no amount of memory", "24GiB"
    elif float(number[0]) <= 0:
        why, example = "must be more than nothing", "24GiB"
    elif number[0] == text:
        why, example = "has no unit", f"{text}GiB"
    else:
        why = f"the unit {text[number.end() :].strip()} is not known or may mean powers of ten"
        example = f"{number[0]}GiB"
    raise UserError(f"{setting}={text}: {why}; write {example}: KiB, MiB, GiB or TiB, powers of 1024")


def in_units(size: int) -> str:
    """Such as `1.25 GiB`, in the largest unit of which there is one at least."""
    name, unit = max(((n, u) for n, u in UNITS.items() if size >= u), key=lambda each: each[1], default=("KiB", 2**10))
    return f"{size / unit:.3g} {name}" if size < 999.5 * unit else f"{size / unit:.0f} {name}"
