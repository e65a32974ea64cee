"""Tasks of EleutherAI's lm-evaluation-harness, scored before and after training (extra `lm-eval`).

Whether such a task is an evaluation or a panel of what is forgotten depends on what was trained on; both are scored the
same way, example by example, with that library's own prompts, metrics and aggregation.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import NotFinite, UserError, first_line, nearest
from harness.files import numbers_or_null
from harness.results.sections import Better, LmEvalTask
from harness.settings import LmEvalSettings

if TYPE_CHECKING:
    from harness.evaluation.answers import Answer


def score_tasks(
    answer: Answer, model: Any, tokenizer: Any, settings: LmEvalSettings, batch_size: int
) -> tuple[dict[str, dict[str, float]], list[dict[str, Any]], dict[str, dict[str, Better]]]:
    """By task each metric as the library aggregates it; a line for each example: task, index, filter, answer, and its
    own metrics, never the example's text; and by task which values of each metric are better. Raises UserError for a
    task that does not exist or cannot be read, and NotFinite for a model that gives no numbers."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    for name in ("lm_eval", "lm-eval"):
        logging.getLogger(name).setLevel(logging.ERROR)
    manager = TaskManager(include_path=settings.path, include_defaults=settings.path is None)
    known = sorted(manager.all_tasks)
    if missing := [task for task in settings.tasks if task not in known]:
        raise UserError(*(f"lm_eval.tasks: {task}: there is none; {nearest(task, known)}" for task in missing))
    outcome: Any
    try:
        outcome = simple_evaluate(
            wrapped(answer, model, tokenizer, batch_size),
            tasks=list(settings.tasks),
            task_manager=manager,
            limit=settings.limit,
            bootstrap_iters=0,
        )
    except NotFinite:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"lm_eval.tasks={settings.tasks}: cannot be scored ({first_line(error)})") from None
    results = {task: metrics_of(outcome["results"][task]) for task in outcome["samples"]}
    lines = [
        {"task": task, "index": int(each["doc_id"]), "filter": each["filter"], "answer": each["filtered_resps"]}
        | {name: float(each[name]) for name in each["metrics"] if isinstance(each[name], int | float)}
        for task, samples in outcome["samples"].items()
        for each in samples
    ]
    for line in lines:
        if numbers_or_null(line["answer"]) != line["answer"]:  # NaN is the likeliest, or none is
            raise NotFinite(f"lm_eval.tasks: {line['task']}: example {line['index']}: a log-likelihood is no number")
    higher = outcome["higher_is_better"]
    return results, lines, {task: directions(higher.get(task, {}), metrics) for task, metrics in results.items()}


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


def wrapped(answer: Answer, model: Any, tokenizer: Any, batch_size: int) -> Any:
    """The model as the library takes it; it writes by `answer`, which gives the same text at any batch size."""
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import GenerationConfig

    from harness.prepare.forward import finite_logits

    class Adapted(HFLM):  # type: ignore[misc]
        add_bos_token: bool | None

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
            # The library puts BOS in front of a text itself; with the tokenizer's own there would be two.
            before = self.add_bos_token
            self.add_bos_token = False
            try:
                likelihoods: list[float] = super().loglikelihood_rolling(requests, disable_tqdm)
            finally:
                self.add_bos_token = before
            return likelihoods

        def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
            config = GenerationConfig(  # type: ignore[no-untyped-call]
                do_sample=False,
                max_new_tokens=max_length - context.shape[1],
            )
            with finite_logits("while generating", model):
                new = answer(model, context, options["attention_mask"], config)
            return torch.cat([context, new], dim=1)

    os.environ["TQDM_DISABLE"] = "1"
    model.eval()
    length = getattr(model.config, "max_position_embeddings", None)
    return Adapted(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, max_length=length)


def compare(
    results: tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]],
    better: dict[str, dict[str, Better]],
    lines_before: Sequence[dict[str, Any]],
    lines_after: Sequence[dict[str, Any]],
) -> dict[str, LmEvalTask]:
    """By task what changed, given the results before and after. Lost and gained are counted by the task's first metric
    that is right or wrong."""
    compared = {}
    before, after = results
    for task, metrics in after.items():
        pairs = [(x, y) for x, y in zip(lines_before, lines_after, strict=True) if x["task"] == task]
        # A task may read its answers in several ways (filters); the first one it names counts.
        pairs = [(x, y) for x, y in pairs if x["filter"] == pairs[0][0]["filter"]]
        names = [name for name in pairs[0][0] if name not in ("task", "index", "filter", "answer")]
        rights = [name for name in names if all(each[name] in (0, 1) for pair in pairs for each in pair)]
        right = rights[0] if rights else None
        compared[task] = LmEvalTask(
            examples=len(pairs),
            before=before[task],
            after=metrics,
            better=better.get(task),
            right=right,
            lost=sum(x[right] > y[right] for x, y in pairs) if right else None,
            gained=sum(x[right] < y[right] for x, y in pairs) if right else None,
        )
    return compared
