"""The one exception for what a user can put right, and how it is shown."""

from __future__ import annotations


class UserError(ValueError):
    """Something the user can put right: `problems` are lines that say what is wrong and what to do.

    The command line prints the lines and exits with 2; there is no traceback.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def nearest(name: str, choices: list[str]) -> str:
    """`; did you mean X?`, or the choices themselves where none is near."""
    from difflib import get_close_matches

    close = get_close_matches(name, choices, n=1)
    return f"did you mean {close[0]}?" if close else f"choose from: {', '.join(sorted(choices))}"
