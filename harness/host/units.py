"""Amounts of memory as people write them.

pydantic's ByteSize takes `24`, `24GB` and `0GiB`, never says what to write, and prints 1.25 GiB as 1.2.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def budget_bytes(text: str) -> int:
    """Bytes of a budget such as `24GiB`. Raises ValueError with what is wrong and what to write."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(KiB|MiB|GiB|TiB)", text)
    if match and float(match[1]) > 0:
        return int(float(match[1]) * UNITS[match[2]])
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
    raise ValueError(f"{why}; write {example}: KiB, MiB, GiB or TiB, powers of 1024")


def _amount(text: str) -> str:
    budget_bytes(text)
    return text


Budget = Annotated[str, AfterValidator(_amount)]
"""An amount of memory in settings."""


def in_units(size: int) -> str:
    """Such as `1.25 GiB`, in the largest unit of which there is one at least."""
    name, unit = max(((n, u) for n, u in UNITS.items() if size >= u), key=lambda each: each[1], default=("KiB", 2**10))
    return f"{size / unit:.3g} {name}" if size < 999.5 * unit else f"{size / unit:.0f} {name}"
