r"""Whether the expression that a solution ends on is the right one, as MATH is scored (Hendrycks et al. 2021,
https://arxiv.org/abs/2103.03874).

Our own, since the paper's rules are in no library: Math-Verify compares by other ones, and lm-evaluation-harness's copy
takes `x/2` as it is written and keeps a bare `%`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean

from harness.errors import UserError
from harness.metrics import Score

_SAID = "The answer is:"
"""Stands before the answer in MetaMathQA's texts (Yu et al. 2024, https://arxiv.org/abs/2309.12284)."""
_REPLACED = [
    ("\n", ""),
    (r"\!", ""),
    (r"\\", "\\"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    (r"\left", ""),
    (r"\right", ""),
    (r"^{\circ}", ""),
    (r"^\circ", ""),
    (r"\$", ""),
]
"""What is written otherwise before units are taken out, in this order."""
_UNITS = r"\text{ "
_INTEGER = "(?:0|-?[1-9][0-9]*)"


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None = None
) -> dict[str, Score]:
    r"""`boxed_match`: percent of items whose prediction's answer is the reference's, both by `normal`.

    The answer is what stands in the last `\boxed{…}`; without one, what follows the last `The answer is:`. Of several
    references any counts. Raises UserError for one without an answer.
    """
    right = []
    for item, (text, group) in enumerate(zip(predictions, references, strict=True), start=1):
        wanted = [answer_of(reference) for reference in group]
        if None in wanted:
            raise UserError(f"metric boxed: the reference of item {item} has no \\boxed{{…}} and no {_SAID!r}")
        said = answer_of(text)
        right.append(100.0 * any(said is not None and alike(said, each) for each in wanted if each is not None))
    return {"boxed_match": Score(fmean(right), "boxed_match|last boxed, else said|hendrycks-math", tuple(right))}


def answer_of(text: str) -> str | None:
    """The answer of a solution, as it is written; None where there is none."""
    return last_boxed(text) or _said(text)


def last_boxed(text: str) -> str | None:
    r"""What the last `\boxed` or, where there is none, `\fbox` holds: up to the brace that closes its own, or without
    braces (`\boxed 5$`) up to the next dollar sign. None where there is none, or it is not closed."""
    start = max(text.rfind(r"\boxed{"), text.rfind(r"\boxed "))
    start = start if start >= 0 else text.rfind(r"\fbox{")
    if start < 0:
        return None
    inside = text[start:].lstrip("\\abcdefghijklmnopqrstuvwxyz")
    if inside[0] == " ":
        return inside[1:].partition("$")[0]
    depth = 0
    for end, character in enumerate(inside):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return inside[1:end]
    return None


def _said(text: str) -> str | None:
    """What follows the last `The answer is:`, up to a full stop at the end of a line."""
    _, said, rest = text.rpartition(_SAID)
    return rest.partition(".\n")[0].strip().removesuffix(".").strip() if said else None


def alike(one: str, other: str) -> bool:
    """Whether two answers are equal by `normal`; as they are written, where one of them breaks its rules."""
    try:
        return normal(one) == normal(other)
    except _Broken:
        return one == other


class _Broken(Exception):
    """A text that the rules cannot be used on."""


def normal(text: str) -> str:
    r"""An answer as the paper's `math_equivalence.py` writes it: without line ends, spaces, units, degrees, percent and
    dollar signs, `\left`, `\right`, and a name of one letter with its `=`; `\frac` and `\sqrt` with their braces; 0 in
    front of a point; integers `a/b` as fractions; 0.5 as one half."""
    for old, new in _REPLACED:
        text = text.replace(old, new)
    if text.count(_UNITS) > 1:
        raise _Broken
    text = text.partition(_UNITS)[0].replace(r"\%", "").replace("%", "")
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    text = f"0{text}" if text.startswith(".") else text
    name, _, value = text.partition("=")
    text = value if text.count("=") == 1 and len(name) <= 2 else text
    text = _fractions(_roots(text).replace(" ", ""))
    text = r"\frac{1}{2}" if text == "0.5" else text
    return re.sub(f"^({_INTEGER})/({_INTEGER})$", r"\\frac{\1}{\2}", text)


def _roots(text: str) -> str:
    r"""`\sqrt3` as `\sqrt{3}`."""
    first, *rest = text.split(r"\sqrt")
    if not all(rest):
        raise _Broken
    return first + "".join(r"\sqrt" + (each if each[0] == "{" else f"{{{each[0]}}}{each[1:]}") for each in rest)


def _fractions(text: str) -> str:
    r"""`\frac12` and `\frac1{2}` as `\frac{1}{2}`; as it is, where one of them ends the text too early."""
    first, *rest = text.split(r"\frac")
    if (short := next((each for each in rest if len(each) < 2 and each != "{"), None)) is not None:
        if not short:
            raise _Broken
        return text
    return first + "".join(r"\frac" + _fraction(each) for each in rest)


def _fraction(text: str) -> str:
    """What stands behind it, with braces."""
    if text[0] == "{":
        return text
    above, below, rest = text[0], text[1], text[2:]
    return f"{{{above}}}" + (f"{{{below}}}{rest}" if below != "{" else below + rest)
