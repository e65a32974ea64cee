"""The one exception for what a user can put right, and how it is shown."""

from __future__ import annotations

import math


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
        "epochs": "steps",
        "num_train_epochs": "steps",
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
    """The first line of what an error says, or its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
