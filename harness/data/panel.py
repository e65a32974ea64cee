"""What a model knew before: a panel of tiny instructions, and general English text.

Both are scored with the untouched model and again after fine-tuning; the difference is what was forgotten.
"""

import re
from dataclasses import dataclass
from importlib.resources import files

import yaml

TASKS = ("entity", "sum", "sentiment", "repeat")
LABELS = ("positive", "negative")


@dataclass(frozen=True)
class PanelItem:
    """One instruction of the panel."""

    task: str
    """One of TASKS."""
    prompt: str
    """The instruction alone, without any chat template."""
    answers: tuple[str, ...]
    """Accepted answers; for a sum the number, for a sentiment its label."""


def load_panel() -> tuple[PanelItem, ...]:
    """The items of `assets/panel.yaml`, task by task."""
    panel = yaml.safe_load(_asset("panel.yaml"))
    return tuple(PanelItem(task, item["prompt"], tuple(item["answers"])) for task in TASKS for item in panel[task])


def general_text() -> str:
    """About 1,500 words of general English prose, paragraphs separated by blank lines."""
    return _asset("general.txt")


def correct(item: PanelItem, output: str) -> bool:
    """Whether `output` answers `item`.

    Only the first line that is not blank counts, without case and punctuation. For a sum, the first number must be the
    answer, where an echo of the question ("2 + 2 = 4") is passed over. Otherwise an accepted answer must occur as whole
    words, and for a sentiment the other label must not.
    """
    line = next((line for line in output.splitlines() if line.strip()), "")
    if item.task == "sum":
        question = re.search(r"(\d+) \+ (\d+)", item.prompt)
        if question:
            line = re.sub(rf"(?<!\d){question[1]} ?\+ ?{question[2]}(?!\d)", "", line, count=1)
        number = re.search(r"-?\d+(?:[.,]\d+)*", line)
        return number is not None and number[0] in item.answers
    words = _words(line)
    others = [label for label in LABELS if label not in item.answers] if item.task == "sentiment" else []
    if any(_contains(words, [other]) for other in others):
        return False
    return any(_contains(words, _words(answer)) for answer in item.answers)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _contains(words: list[str], part: list[str]) -> bool:
    return any(words[start : start + len(part)] == part for start in range(len(words) - len(part) + 1))


def _asset(name: str) -> str:
    return files("harness.data").joinpath("assets", name).read_text(encoding="utf-8")
