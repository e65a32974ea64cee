"""The same test examples read otherwise, with typing errors or in other words around them: how much a score owes to the
one way in which they were written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.data import Source
from harness.evaluation.predict import score_task
from harness.evaluation.scores import Scores
from harness.evaluation.typos import mistyped
from harness.prepare.base_model import LoadedModel
from harness.prepare.encoded_task import EncodedTask
from harness.results.lines import write_lines
from harness.results.sections import Paraphrase, Typos

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.settings import Eval


def perturbed_tasks(settings: RunSettings, base: LoadedModel, shots: int | None = None) -> dict[str, EncodedTask]:
    """By name, the run's task with its test inputs read otherwise, to predict with: `typos` with typing errors in them,
    `paraphrase_1` … in another template. Their predictions are scored by the run's own task."""
    chosen = settings.eval
    sources: dict[str, Source] = {}
    if chosen.typos:
        sources["typos"] = mistyped(settings.data, chosen.typos, chosen.typo_seed)
    for number, template in enumerate(chosen.paraphrases, 1):
        sources[f"paraphrase_{number}"] = settings.data.model_copy(update={"prompt": template})
    return {
        name: EncodedTask(settings.model_copy(update={"data": source}), base, shots) for name, source in sources.items()
    }


def score_perturbed(
    others: dict[str, EncodedTask],
    task: EncodedTask,
    clean: Scores,
    predict: Callable[[EncodedTask], Any],
    folder: Path,
) -> dict[str, dict[str, Any]]:
    """For each reading its scores (`quality`) and the share of predictions that are the clean ones (`agreement`).
    Writes its lines into `folder`, as NAME.jsonl."""
    readings = {}
    for name, other in others.items():
        scores = score_task(task, predict(other))
        write_lines(folder / f"{name}.jsonl", scores.lines)
        same = fmean(a["prediction"] == b["prediction"] for a, b in zip(clean.lines, scores.lines, strict=True))
        readings[name] = {"quality": scores.quality, "agreement": same}
    return readings


def perturbed_sections(
    settings: Eval, own: dict[str, dict[str, Any]], base: dict[str, dict[str, Any]]
) -> tuple[Typos | None, list[Paraphrase] | None]:
    """The record's sections, of what `score_perturbed` found under the run's model and under the base."""

    def fields(name: str) -> dict[str, Any]:
        return own[name] | {"base_quality": base[name]["quality"]}

    typed = Typos(share=settings.typos, seed=settings.typo_seed, **fields("typos")) if settings.typos else None
    templates = enumerate(settings.paraphrases, 1)
    paraphrases = [Paraphrase(prompt=template, **fields(f"paraphrase_{number}")) for number, template in templates]
    return typed, paraphrases or None
