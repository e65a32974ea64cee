"""Tasks of lm-evaluation-harness as that library makes them, with their data: whatever is missing is told here, before
anything is asked."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.errors import UserError, first_line, nearest
from harness.network import unreachable
from harness.settings import LmEvalSettings


@dataclass(frozen=True)
class Tasks:
    """What the settings name."""

    asked: list[Any]
    """The library's tasks and groups."""
    single: dict[str, Any]
    """By name each task, those of groups too."""
    manager: Any
    """That library's own, which found them."""

    def examples(self, limit: int | None) -> int:
        """How many they have, `limit` of each at most."""
        sizes = [len(task.eval_docs) for task in self.single.values()]
        return sum(sizes if limit is None else (min(size, limit) for size in sizes))


def load_tasks(settings: LmEvalSettings) -> Tasks:
    """The tasks that are named, each with its number of solved examples. Raises UserError for one that does not exist,
    and for one whose files, data or packages are not there."""
    for name in ("lm_eval", "lm-eval"):
        logging.getLogger(name).setLevel(logging.ERROR)
    why = None if settings.path else unreachable()  # asked before `datasets` is, which asks for minutes
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=settings.path, include_defaults=settings.path is None)
    known, shots = sorted(manager.all_tasks), settings.num_fewshot or {}
    named = [("tasks", name) for name in settings.tasks]
    # A preset may be given other task files, which need not have all that it names.
    named += [("num_fewshot", name) for name in shots if not settings.path]
    if missing := [(key, name) for key, name in named if name not in known]:
        raise UserError(*(f"lm_eval.{key}: {name}: there is none; {nearest(name, known)}" for key, name in missing))
    asked: list[Any] = []
    single: dict[str, Any] = {}
    for name in settings.tasks:
        tasks, groups = _loaded(manager, name, why)
        asked += [groups[name]] if name in groups else tasks.values()
        single |= tasks
        # From the whole to its parts, whose own numbers count.
        parts = {name: list(tasks.values())} | {each: group.get_all_tasks() for each, group in groups.items()}
        for part, members in (parts | {each: [task] for each, task in tasks.items()}).items():
            for task in members if part in shots else ():
                task.set_config(key="num_fewshot", value=shots[part])
    _need_sentences(single)
    return Tasks(asked, single, manager)


def _loaded(manager: Any, name: str, why: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its tasks and groups by name; `why`: the hub cannot be reached. Raises UserError."""
    try:
        loaded = manager.load(name)
    except ImportError as error:
        raise UserError(
            f"lm_eval.tasks: {name}: needs a package that is not there ({first_line(error)}); "
            "pip install 'peft-harness[lm-eval]', or the package"
        ) from None
    except Exception as error:  # a task's files may hold code, which may fail in any way
        cause = first_line(error) or type(error).__name__
        advice = "check the network, or name task files with lm_eval.path" if why else "check its files and its data"
        raise UserError(
            f"lm_eval.tasks: {name}: cannot be loaded ({cause}){f', and {why}' if why else ''}; {advice}"
        ) from None
    return loaded["tasks"], loaded.get("groups", {})


def _need_sentences(names: Iterable[str]) -> None:
    """Raise UserError where IFEval is asked for without the data by which NLTK splits texts into words. It is judged by
    them after all answers are written, and the library does not say that it could not fetch them."""
    if not (name := next((name for name in names if "ifeval" in name), None)):
        return
    import nltk  # type: ignore[import-untyped]

    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError:
        raise UserError(
            f"lm_eval.tasks: {name}: needs NLTK's data punkt_tab, which is not there and could not be fetched; "
            "python -m nltk.downloader punkt_tab fetches it, and NLTK_DATA=FOLDER says where it lies"
        ) from None
