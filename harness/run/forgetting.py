"""What a run forgot, as measured against the untouched base: general text, the panel, lm-evaluation-harness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.evaluation import general_text, panel
from harness.evaluation.lm_eval import TaskScores, compare, score_tasks
from harness.evaluation.lm_eval_model import wrapped
from harness.evaluation.lm_eval_tasks import load_tasks
from harness.results.lines import read_lines, write_lines
from harness.results.lm_eval import LmEvalTask
from harness.results.sections import Forgetting

if TYPE_CHECKING:
    from harness.run.adapt import Adapted
    from harness.run.progress import RunProgress


def measure_forgetting(adapted: Adapted, progress: RunProgress) -> tuple[Forgetting, list[dict[str, Any]]]:
    """General text and the panel beside what the untouched base gave, and a line for each item of the panel."""
    settings, folders, tokenizer = adapted.settings, adapted.base_folders, adapted.tokenizer
    chosen, kept = settings.forgetting, folders.forgetting / "logits.safetensors"
    text_before = json.loads((folders.forgetting / "text.json").read_text())
    batches = general_text.windows(adapted.model, tokenizer, chosen)
    after = general_text.text_loss(adapted.forward, batches, chosen.compare_tokens, keep=None, base=kept)
    assert after.divergence is not None
    before = read_lines(folders.forgetting / "panel.jsonl")
    lines = panel.panel_scores(
        settings.method.generate, adapted.model, tokenizer, chosen.panel, settings.eval, progress.generated
    )
    changes = panel.changes(before, lines)
    shares = panel.shares(before), panel.shares(lines)
    forgetting = Forgetting(
        text=general_text.describe(chosen),
        tokens=after.tokens,
        loss_before=text_before["loss"],
        loss_after=after.loss,
        compared_tokens=after.divergence.tokens,
        kl=after.divergence.kl,
        kl_std=after.divergence.kl_std,
        kl_quantiles=after.divergence.kl_quantiles,
        agreement=after.divergence.agreement,
        panel=Path(chosen.panel).name,
        panel_items=len(lines),
        panel_before=shares[0]["all"],
        panel_after=shares[1]["all"],
        panel_lost=sum(lost for lost, _ in changes.values()),
        panel_gained=sum(gained for _, gained in changes.values()),
        panel_by_task={task: (shares[0][task], shares[1][task]) for task in sorted(changes)},
        panel_changes={task: changes[task] for task in sorted(changes)},
    )
    return forgetting, [
        {"index": i, "task": old["task"], "before": old["answer"], "after": new["answer"]}
        | {"right_before": old["right"], "right_after": new["right"]}
        for i, (old, new) in enumerate(zip(before, lines, strict=True))
    ]


def measure_lm_eval(adapted: Adapted, before: Path, lines_file: Path, progress: RunProgress) -> dict[str, LmEvalTask]:
    """The tasks of lm-evaluation-harness, beside what the untouched base gave (in the folder `before`)."""
    settings = adapted.settings
    base = TaskScores(**json.loads((before / "results.json").read_text()), lines=read_lines(before / "samples.jsonl"))
    scores = base
    if not settings.method.untouched:
        lm = wrapped(settings.method.generate, adapted.model, adapted.tokenizer, settings.eval.batch_size)
        scores = score_tasks(lm, load_tasks(settings.lm_eval), settings.lm_eval, progress.answered)
    write_lines(lines_file, scores.lines)
    return compare(base, scores)
