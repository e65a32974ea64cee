"""The one exception for what a user can put right, how it is shown, and how a command ends."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Literal, NoReturn

from harness.quiet import quiet

USER_ERROR, INTERRUPTED = 2, 130
"""Exit codes."""
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""C0 and C1 controls and Unicode's bidirectional ones (UAX 9)."""
LONGEST = 2000
"""Characters of a line that says what is wrong; the middle of a longer one is left out."""


class UserError(ValueError):
    """Something the user can put right: `problems` are lines that say what is wrong and what to do.

    The command line prints the lines and exits with 2; there is no traceback.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class NotFinite(UserError):
    """A model that gives NaN or an infinity for a number: its weights are broken, or too large for its dtype."""


def finite(what: str, value: float) -> float:
    """The value. Raises NotFinite, naming it as `what`, where it is no finite number."""
    if not math.isfinite(value):
        raise NotFinite(f"{what} is {value}: the model's weights are no numbers, or too large for its dtype")
    return value


ELSEWHERE = {
    **{"r": "rank", "lora_r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout", "learning_rate": "lr"},
    **{
        "num_train_epochs": "epochs",
        "max_steps": "steps",
        "seeds": "seed",
        "target_modules": "modules",
    },
    **{"per_device_train_batch_size": "batch_size", "gradient_accumulation_steps": "accumulation"},
    **{"warmup": "warmup_steps", "max_seq_length": "max_length", "bf16": "dtype", "fp16": "dtype"},
}
"""What other tools call a setting, and what it is called here."""


def nearest_key(key: str, known: list[str]) -> str:
    """As `nearest`, for a dotted key: the same name in another group, or a near one in its own."""
    from difflib import get_close_matches

    group, _, name = key.rpartition(".")
    name = ELSEWHERE.get(name, name)
    if same := [k for k in known if k.rpartition(".")[2] == name]:
        return f"did you mean {min(same, key=len)}?"
    siblings = [k for k in known if group and k.startswith(f"{group}.")] or sorted({k.partition(".")[0] for k in known})
    names = {k.rpartition(".")[2]: k for k in siblings}
    close = get_close_matches(name, names, n=1)
    return f"did you mean {names[close[0]]}?" if close else f"choose from: {', '.join(sorted(siblings))}"


def nearest(name: str, choices: list[str]) -> str:
    """`; did you mean X?`, or the choices themselves where none is near."""
    from difflib import get_close_matches

    close = get_close_matches(name, choices, n=1)
    return f"did you mean {close[0]}?" if close else f"choose from: {', '.join(sorted(choices))}"


def first_line(error: BaseException) -> str:
    """The first line of what an error says, with the next where it ends in a colon, or its type where it says nothing;
    of the system's errors without the file, which whoever tells it names."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first, *more = str(error).strip().splitlines() or [type(error).__name__]
    return f"{first} {more[0].strip()}" if first.endswith(":") and more else first


def reason(error: BaseException) -> str:
    """The first line of what a library's error says, behind its type where that is more than a file or a value."""
    line = first_line(error)
    plain = isinstance(error, OSError | ValueError) or line == type(error).__name__
    return line if plain else f"{type(error).__name__}: {line}"


def where_raised(error: Exception) -> str:
    """What an error says and where somebody's own code raised it: file and line."""
    if isinstance(error, SyntaxError):
        return f"{error.msg}: {error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    place = next((each for each in reversed(frames) if "site-packages" not in each.filename), frames[-1])
    return f"{type(error).__name__}: {first_line(error)}: {place.filename}, line {place.lineno}"


def memory_is_out(error: BaseException) -> bool:
    """Whether the error, whichever library raised it, means that there is no memory left."""
    words = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(w in str(error) for w in words))


def shown(text: str) -> str:
    """A text that may go to a terminal: control characters and those that turn the direction of writing, which a record
    from elsewhere may hold, as their escapes, which JSON reads as the same. Line feeds and tabs stay."""
    return UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def refuse(problems: Iterable[str]) -> int:
    """Say on stderr what the user can put right, a line a problem; the exit code."""
    for problem in problems:
        line, half = shown(" ".join(problem.splitlines())), LONGEST // 2
        line = line if len(line) <= LONGEST else f"{line[:half]} … {line[-half:]}"
        with contextlib.suppress(OSError):  # there may be no place for it either
            print(f"error: {line}", file=sys.stderr, flush=True)
    return USER_ERROR


def run_command(act: Callable[[], int | None]) -> int:
    """Run a command; its exit code: what `act` gives (None is 0), 2 with a line for each thing that the user can put
    right, 130 where it was interrupted. What it prints has been written when it is 0."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an encoding may lack letters that a text has
    code = 0
    try:
        with warnings.catch_warnings():
            quiet()
            code = _code(act)
        if sys.stdout is not None:  # as it is where it was closed before the start
            sys.stdout.flush()
    except UserError as error:
        code = refuse(error.problems)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:
        pass  # the reader (such as `head`) has had enough
    except OSError as error:
        place = "the output" if error.filename is None else str(error.filename)
        code = refuse([f"{place}: cannot be read or written ({error.strerror or error}); check the place, free space"])
    _let_go()
    return code


def _code(act: Callable[[], int | None]) -> int:
    """What `act` gives, or ends the process with, as --help does."""
    try:
        return act() or 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0


def _let_go() -> None:
    """Keep Python from complaining when it ends about what standard output did not take."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Parser(argparse.ArgumentParser):
    """The arguments of a command. What is wrong with them is one line, like all that the user can put right. An empty
    text is wrong too: nobody means it, a script's variable had no value."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does. Raises UserError."""
        words = list(sys.argv[1:] if args is None else args)
        for before, word in zip(["", *words], words, strict=False):
            option, sign, value = word.partition("=")
            named = option if option.startswith("--") else before if before.startswith("--") else "an argument"
            if not word or (sign and not value and option.startswith("--")):
                raise UserError(f"{named}: is empty; give it a value, or leave it out")
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(f"{message}; see {self.prog} --help")


Ending = Literal["error", "diverged", "interrupted", "timeout", "skipped"]
"""The statuses of such runs."""


class RunEnded(Exception):
    """A run that ended before it was done: with which status, why, and at which step."""

    def __init__(self, status: Ending, cause: str, step: int | None = None) -> None:
        super().__init__(cause)
        self.status, self.cause, self.step = status, cause, step
