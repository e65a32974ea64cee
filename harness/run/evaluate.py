"""The stage that scores: answers, robustness, forgetting, tasks of lm-evaluation-harness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.data import Example
from harness.evaluation.predict import predict, score_task
from harness.evaluation.robustness import perturbed_sections, score_perturbed
from harness.evaluation.scores import Scores, share_ended
from harness.files import hash_of
from harness.results.lines import read_lines, write_lines
from harness.results.sections import BitsPerByte
from harness.run.forgetting import measure_forgetting, measure_lm_eval
from harness.run.record import VAL_LOSS, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.measure.peak_memory import Meter, Peak
    from harness.prepare.encoded_task import EncodedTask
    from harness.results.folder import RunFolder
    from harness.run.adapt import Adapted
    from harness.run.progress import RunProgress
    from harness.run.train import Trained


@dataclass(frozen=True)
class Scored(Stage):
    """What scoring gave."""

    lines: Sequence[dict[str, Any]] = ()
    """Of each test example: its prediction and scores."""
    peak: Peak | None = None


def evaluate(adapted: Adapted, trained: Trained, folder: RunFolder, meter: Meter, progress: RunProgress) -> Scored:
    """Score the run's model. What a method leaves untouched has the scores of its base, which are made once."""
    meter.start()
    method, task, before = adapted.method, adapted.task, adapted.base_scores
    reasons: dict[str, str] = {}
    forgotten = None
    if method.untouched:
        scores, otherwise = _of_the_base(adapted, folder)
        reasons["forgetting"] = "the base model is not trained"
    else:
        scores, otherwise = _scored(adapted, folder, progress)
        if task.kind == "causal":
            with progress.phase("forgetting"):
                forgotten, panel = measure_forgetting(adapted, progress)
                write_lines(folder.panel, panel)
    peak = None if method.untouched else meter.peak()
    lines = [_told(line, task.test[line["index"]], adapted.settings.eval.keep_texts) for line in scores.lines]
    write_lines(folder.predictions, lines)
    if task.kind != "causal":
        reasons["forgetting"] = "general text and the panel need a causal model"
    if not task.prompts or task.kind == "classification":
        reasons["ended"] = "no answers are written"
    reasons |= {f"quality.{name}": reason for name, reason in scores.reasons.items()}
    typed, paraphrased = perturbed_sections(adapted.settings.eval, otherwise, before["readings"])
    if not typed:
        reasons["typos"] = "off; eval.typos=0.05 mistypes a letter in twenty"
    if not paraphrased:
        reasons["paraphrases"] = "off; eval.paraphrases names other templates"
    tasks = lm_eval(adapted, folder, progress)
    validated = {"val_loss": trained.val_loss} if method.trains else {}
    by_byte = _by_byte(task, (before["quality"] | validated)["val_loss"], before["quality"]["val_loss"])
    if isinstance(by_byte, str):
        reasons["bits_per_byte"] = by_byte
    sections = {
        "quality": validated | scores.quality,
        "base_quality": before["quality"],
        "signatures": scores.signatures | {"val_loss": VAL_LOSS[task.kind]},
        "better": scores.better | {"val_loss": "lower"},
        "baselines": before["baselines"],
        "test_examples": len(task.test),
        "bits_per_byte": None if isinstance(by_byte, str) else by_byte,
        "ended": share_ended(scores.lines),
        "truncated": task.truncated,
        "forgetting": forgotten,
        "typos": typed,
        "paraphrases": paraphrased,
    }
    return Scored(sections | tasks.sections, reasons | tasks.reasons, lines=lines, peak=peak)


def _by_byte(task: EncodedTask, loss: float, base_loss: float) -> BitsPerByte | str:
    """The validation losses by byte, or why there are none."""
    if task.kind == "classification":
        return "a classification head answers in no text"
    if task.validation_shortened:
        return f"of {task.validation_shortened} validation examples the answer was cut; raise train.max_length"
    values = [task.bits_per_byte(each) for each in (loss, base_loss)]
    return BitsPerByte(validation=values[0], base_validation=values[1], validation_bytes=task.validation_bytes)


def _told(line: dict[str, Any], example: Example, texts: bool) -> dict[str, Any]:
    """A line of predictions with what its input is known by: file and row, or a hash where it has no file; with input
    and references where those are asked for."""
    known = {"index": line["index"], "id": example.place or hash_of(example.source)[:12]}
    asked = {"input": example.source, "references": list(example.references)} if texts else {}
    return known | line | asked


def _of_the_base(adapted: Adapted, folder: RunFolder) -> tuple[Scores, dict[str, Any]]:
    """What the base gave, taken over."""
    before, kept = adapted.base_scores, adapted.base_folders.quality
    for name in adapted.perturbed:
        write_lines(folder.lines(name), read_lines(kept / f"{name}.jsonl"))
    lines = read_lines(kept / "predictions.jsonl")
    scores = Scores(before["quality"], before["signatures"], lines, before["reasons"], before["better"])
    return scores, before["readings"]


def _scored(adapted: Adapted, folder: RunFolder, progress: RunProgress) -> tuple[Scores, dict[str, Any]]:
    """Answers to the test examples, as they are and as they are read otherwise, and their scores."""

    def predictions(texts: EncodedTask) -> Any:
        return predict(texts, adapted.method.generate, adapted.model, adapted.forward, progress.generated)

    with progress.phase("evaluate"):
        scores = score_task(adapted.task, predictions(adapted.task))
    if not adapted.perturbed:
        return scores, {}
    with progress.phase("readings"):
        return scores, score_perturbed(adapted.perturbed, adapted.task, scores, predictions, folder.path)


def lm_eval(adapted: Adapted, folder: RunFolder, progress: RunProgress) -> Stage:
    """Tasks of lm-evaluation-harness, where some are named."""
    if adapted.task.kind != "causal":
        return Stage({"lm_eval": None}, {"lm_eval": "its tasks need a causal model"})
    if not adapted.base_folders.lm_eval:
        return Stage({"lm_eval": None}, {"lm_eval": "lm_eval.tasks names none"})
    with progress.phase("lm-eval"):
        return Stage({"lm_eval": measure_lm_eval(adapted, adapted.base_folders.lm_eval, folder.lm_eval, progress)})
