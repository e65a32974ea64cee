"""Tasks of EleutherAI's lm-evaluation-harness, scored before and after training (extra `lm-eval`).

Whether such a task is an evaluation or a panel of what is forgotten depends on what was trained on; both are scored the
same way, example by example, with that library's own prompts, metrics and aggregation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import NotFinite, UserError, first_line
from harness.evaluation.lm_eval_model import Told
from harness.evaluation.lm_eval_tasks import Tasks
from harness.files import numbers_or_null
from harness.results.lm_eval import LmEvalTask
from harness.results.sections import Better
from harness.settings import LmEvalSettings


@dataclass(frozen=True)
class TaskScores:
    """What one model made of the tasks."""

    results: dict[str, dict[str, float]]
    """By task, and by group that the library makes a mean of, each metric as it aggregates it."""
    better: dict[str, dict[str, Better]]
    """By the same names, which values of each metric are better."""
    groups: dict[str, list[str]]
    """By name of what was asked for: the tasks of a group; of a single task none."""
    num_fewshot: dict[str, int]
    """By task."""
    chat_template: bool
    cut: dict[str, int]
    """By task: examples that were too long and lost their beginning."""
    lines: Sequence[dict[str, Any]]
    """Of each example: task, index, filter, answer, and its own metrics, never its text."""


def score_tasks(
    lm: Any, tasks: Tasks, settings: LmEvalSettings, tell: Callable[[int, int], None] = lambda done, total: None
) -> TaskScores:
    """The scores of a model that is `wrapped`. `tell` is told how many answers there are, of how many. Raises UserError
    for a task that cannot be asked, NotFinite for a model that gives no numbers, and what `tell` does."""
    from lm_eval import simple_evaluate

    chat = settings.apply_chat_template
    if chat is True and not lm.tokenizer.chat_template:
        raise UserError("lm_eval.apply_chat_template=true: the model has no chat template; use auto, or false")
    chat = bool(chat and lm.tokenizer.chat_template)
    _fit(lm, tasks)
    lm.set_cache_hook(Told(tell, tasks.single.values()))
    outcome: Any
    try:
        outcome = simple_evaluate(
            lm,
            tasks=tasks.asked,
            task_manager=tasks.manager,
            limit=settings.limit,
            bootstrap_iters=0,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
        )
    except UserError:
        raise
    except (AssertionError, OSError, ValueError, KeyError) as error:
        raise UserError(f"lm_eval.tasks={settings.tasks}: cannot be scored ({first_line(error)})") from None
    return _read(outcome, _groups(tasks.asked), chat, lm.cut)


def _fit(lm: Any, tasks: Tasks) -> None:
    """Raise UserError for tasks whose answers alone would be longer than what the model reads and writes."""
    lengths = {
        name: int((task.config.generation_kwargs or {}).get("max_gen_toks", lm.max_gen_toks))
        for name, task in tasks.single.items()
        if task.get_config("output_type") == "generate_until"
    }
    if long := {name: length for name, length in lengths.items() if length >= lm.max_length}:
        raise UserError(
            *(
                f"lm_eval.tasks: {name}: its answers may have {length} tokens, and the model takes {lm.max_length}, "
                "the question among them; leave the task out"
                for name, length in long.items()
            )
        )


def _groups(asked: Iterable[Any]) -> dict[str, list[str]]:
    """By name of a task or group the tasks in it; in the place of a group without a mean stands what it has in it."""
    found: dict[str, list[str]] = {}
    for each in asked:
        if not hasattr(each, "get_all_tasks"):
            found[each.task_name] = []
        elif each.has_aggregation:
            found[each.name] = [task.task_name for task in each.get_all_tasks()]
        else:
            found |= _groups(each)
    return found


def _read(outcome: Any, groups: dict[str, list[str]], chat: bool, cut: set[str]) -> TaskScores:
    """What the library gives back, as it is kept. `cut`: questions that lost their beginning. Raises NotFinite."""
    samples = outcome["samples"]
    lines = [
        {"task": task, "index": int(each["doc_id"]), "filter": each["filter"], "answer": each["filtered_resps"]}
        | {name: float(each[name]) for name in each["metrics"] if isinstance(each[name], int | float)}
        for task, answered in samples.items()
        for each in answered
    ]
    for line in lines:
        if numbers_or_null(line["answer"]) != line["answer"]:  # NaN is the likeliest, or none is
            raise NotFinite(f"lm_eval.tasks: {line['task']}: example {line['index']}: a log-likelihood is no number")
    results = {name: metrics_of(outcome["results"][name]) for name in dict.fromkeys([*groups, *samples])}
    higher = outcome["higher_is_better"]
    return TaskScores(
        results=results,
        better={name: directions(higher.get(name, {}), metrics) for name, metrics in results.items()},
        groups=groups,
        num_fewshot={task: int(outcome["n-shot"][task]) for task in samples},
        chat_template=chat,
        cut={
            task: len({each["doc_id"] for each in answered if any(asked[0] in cut for asked in each["arguments"])})
            for task, answered in samples.items()
        },
        lines=lines,
    )


def metrics_of(result: dict[str, Any]) -> dict[str, float]:
    """The metrics among what the library reports of a task, by its own names (`acc,none`), without standard errors."""
    return {
        name: float(value)
        for name, value in result.items()
        if "," in name and "_stderr" not in name and not isinstance(value, str)
    }


def directions(higher: dict[str, bool | None], metrics: Iterable[str]) -> dict[str, Better]:
    """Which values of these metrics (`acc,none`) are better, where the task says by metric whether higher is."""
    names: dict[bool | None, Better] = {True: "higher", False: "lower", None: "neither"}
    return {name: names[higher.get(name.partition(",")[0])] for name in metrics}


def compare(before: TaskScores, after: TaskScores) -> dict[str, LmEvalTask]:
    """By task or group what changed. Lost and gained are counted by a task's first metric that is right or wrong, and
    are a group's sums over its tasks."""
    single = {task: _compared(task, before, after) for task in after.cut}
    return {name: _summed(name, before, after, single) if after.groups[name] else single[name] for name in after.groups}


def _compared(task: str, before: TaskScores, after: TaskScores) -> LmEvalTask:
    pairs = [(x, y) for x, y in zip(before.lines, after.lines, strict=True) if x["task"] == task]
    # A task may read its answers in several ways (filters); the first one it names counts.
    pairs = [(x, y) for x, y in pairs if x["filter"] == pairs[0][0]["filter"]]
    names = [name for name in pairs[0][0] if name not in ("task", "index", "filter", "answer")]
    right = next((name for name in names if all(each[name] in (0, 1) for pair in pairs for each in pair)), None)
    return LmEvalTask(
        examples=len(pairs),
        before=before.results[task],
        after=after.results[task],
        better=after.better[task],
        right=right,
        lost=sum(x[right] > y[right] for x, y in pairs) if right else None,
        gained=sum(x[right] < y[right] for x, y in pairs) if right else None,
        num_fewshot=after.num_fewshot[task],
        chat_template=after.chat_template,
        cut=after.cut[task],
    )


def _summed(name: str, before: TaskScores, after: TaskScores, single: dict[str, LmEvalTask]) -> LmEvalTask:
    tasks = {task: single[task] for task in after.groups[name]}
    parts = list(tasks.values())
    rights, shots = {part.right for part in parts}, {part.num_fewshot for part in parts}
    right = rights.pop() if len(rights) == 1 else None
    return LmEvalTask(
        examples=sum(part.examples for part in parts),
        before=before.results[name],
        after=after.results[name],
        better=after.better[name],
        right=right,
        lost=sum(part.lost or 0 for part in parts) if right else None,
        gained=sum(part.gained or 0 for part in parts) if right else None,
        num_fewshot=shots.pop() if len(shots) == 1 else None,
        chat_template=after.chat_template,
        cut=sum(part.cut or 0 for part in parts),
        tasks=tasks,
    )
