"""One task after another, and what later ones did to earlier ones: `python -m harness sequence`."""

from __future__ import annotations

import argparse
import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.commands._finished import markdown_table, tell
from harness.commands.run import end_unless_ok
from harness.config.compose import compose_settings, composed
from harness.config.run_settings import RunSettings
from harness.errors import Parser, UserError
from harness.files import write_atomically
from harness.launch import run_once
from harness.metrics.tools import continual
from harness.results.folder import RunFolder
from harness.results.record import SCHEMA, Record
from harness.results.sweep_files import checked_name

DESCRIPTION = """\
Fine-tune on one task after another, score every task after each, and print the matrix of scores with average
forgetting and backward transfer. Each stage is an ordinary run that starts from the model which the stage before it
kept (an adapter is merged into it), and each score is that of the zero-shot run of such a model, so what was done
before is not done again."""

EXAMPLE = """\
example:
  python -m harness sequence --stage "data=restaurants" --stage "data=e2e data.path=FOLDER" \\
      --method "method=full" --method "method=lora method.rank=16" --joint "data=mix" train.steps=100"""

SCORES = ("accuracy", "bleu", "numeric_match", "boxed_match", "pass_at_1", "exact_match", "rouge1")
"""What a task is scored by, the first that it has, unless --score names another."""
NONE = "—"


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, and how it is scored."""

    name: str
    common: tuple[str, ...]
    """Overrides of every run."""
    stages: tuple[tuple[str, ...], ...]
    """Overrides of each task, in the order of training."""
    methods: tuple[tuple[str, ...], ...]
    """Overrides of each method: a row of the table."""
    joint: tuple[str, ...] | None
    """Overrides of the data on which each method is also trained at once."""
    scores: tuple[str | None, ...]
    """By task the name of its score; None: the first of SCORES that it has."""


@dataclass(frozen=True)
class Row:
    """One method."""

    label: str
    runs: list[str]
    """Ids of the training runs, a task each."""
    scores: list[list[float]]
    """After each of them, the score of every task."""
    joint_run: str | None
    """Id of the run on all tasks at once."""
    joint: list[float] | None
    """Scores after it."""


@dataclass(frozen=True)
class Outcome:
    """The result of a plan."""

    tasks: list[str]
    metrics: list[str]
    """By task what it is scored by, higher being better."""
    base: list[float]
    """Scores of the untouched base."""
    rows: list[Row]


def main(arguments: list[str]) -> None:
    """Run the sequence and print its tables. Raises UserError."""
    parser = Parser(
        prog="python -m harness sequence",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="of every run, such as model=… train.steps=…")
    parser.add_argument(
        "--stage", action="append", required=True, metavar="OVERRIDES", help="a task: data=… and more; at least two"
    )
    parser.add_argument(
        "--method", action="append", metavar="OVERRIDES", help="a row of the table (default: method=full, method=lora)"
    )
    parser.add_argument("--joint", metavar="OVERRIDES", help="data of all tasks, for rows that train on them at once")
    parser.add_argument(
        "--score",
        action="append",
        metavar="NAME",
        help="of all tasks, or given once for each (default: accuracy, bleu)",
    )
    parser.add_argument("--name", default="sequence", help="of the file in results/sequences/ (default: %(default)s)")
    options = parser.parse_intermixed_args(arguments)
    plan = Plan(
        checked_name("--name", options.name),
        tuple(options.overrides),
        tuple(_split(stage) for stage in options.stage),
        tuple(_split(method) for method in options.method or ["method=full", "method=lora"]),
        _split(options.joint) if options.joint else None,
        _by_task(options.score or [None], len(options.stage)),
    )
    try:
        results = check(plan)
        outcome = run(plan)
    finally:
        run_once.close()
    path = results / "sequences" / f"{plan.name}.json"
    write_atomically(path, json.dumps({"schema_version": SCHEMA} | asdict(outcome), indent=1) + "\n")
    print(render(outcome))


def _split(text: str) -> tuple[str, ...]:
    try:
        overrides = tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"{text}: cannot be split into overrides ({error}); close the quotation") from None
    if not overrides or not all(overrides):
        raise UserError(f"{text!r}: has no overrides, or an empty one; write them as data=… train.steps=…")
    return overrides


def _by_task(scores: list[str | None], tasks: int) -> tuple[str | None, ...]:
    if len(scores) not in (1, tasks):
        raise UserError(f"--score: is given {len(scores)} times for {tasks} stages; give it once, or once for each")
    return tuple(scores * tasks if len(scores) == 1 else scores)


def check(plan: Plan) -> Path:
    """The folder of results. Raises UserError with every problem of the plan, before anything runs."""
    if len(plan.stages) < 2:
        raise UserError("--stage: one task is no sequence; give it at least twice")
    if named := [o for o in plan.common if _key(o) in ("method", "targets") or _key(o).startswith("method.")]:
        raise UserError(f"{named[0]}: belongs to a row of the table; give it as --method")
    problems: list[str] = []
    classes, settings = set(), None
    trained = [*plan.stages, *([plan.joint] if plan.joint else [])]
    for stage in trained:
        for method in plan.methods:
            try:
                settings = compose_settings(training(plan, method, stage, None))
                classes.add(settings.data.head_classes)
                if not settings.method.trains:
                    problems.append(f"{' '.join(method)}: trains nothing; the base's scores are shown anyway")
            except UserError as error:
                problems += error.problems
    if len(classes) > 1:
        problems.append("--stage: a classification head serves one set of classes alone; name tasks answered in text")
    if problems:
        raise UserError(*dict.fromkeys(problems))
    assert settings is not None
    return Path(settings.results)


def training(plan: Plan, method: Sequence[str], stage: Sequence[str], start: Record | None) -> list[str]:
    """Overrides of a stage that starts from the model of the run `start`, or from the base."""
    return [*_on(plan, stage, start), *method, "keep_model=true"]


def scoring(plan: Plan, stage: Sequence[str], start: Record | None) -> list[str]:
    """Overrides of the run that scores a task under the model of the run `start`, or under the base."""
    return [*_on(plan, stage, start), "method=zero_shot"]


def _on(plan: Plan, stage: Sequence[str], start: Record | None) -> list[str]:
    if start is None:
        return [*plan.common, *stage]
    common = [override for override in plan.common if _key(override).partition(".")[0] != "model"]
    results = Path(compose_settings(common).results)
    folder = RunFolder.of(results, start.id).model
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: the model that the run kept is gone; run again with force=true")
    return [*common, *stage, "model=path", f"model.path={folder}", f"model.name={start.id}"]


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def run(plan: Plan) -> Outcome:
    """Train and score everything. Ends the process with 1 where a run fails."""
    tasks = titles([compose_settings([*plan.common, *stage]) for stage in plan.stages], plan.stages)
    tell("the untouched base")
    scored = [_done(scoring(plan, stage, None)) for stage in plan.stages]
    metrics = [_metric(record, name, task) for record, name, task in zip(scored, plan.scores, tasks, strict=True)]

    def scores_of(start: Record | None) -> list[float]:
        records = [_done(scoring(plan, stage, start)) for stage in plan.stages]
        return [_score(record, metric) for record, metric in zip(records, metrics, strict=True)]

    rows = []
    for method in plan.methods:
        start: Record | None = None
        runs: list[str] = []
        scores: list[list[float]] = []
        for number, (stage, task) in enumerate(zip(plan.stages, tasks, strict=True), 1):
            tell(f"{' '.join(method)}: task {number} of {len(tasks)}, {task}")
            start = _done(training(plan, method, stage, start))
            runs.append(start.id)
            scores.append(scores_of(start))
        assert start is not None
        at_once = None
        if plan.joint:
            tell(f"{' '.join(method)}: all tasks at once")
            at_once = _done(training(plan, method, plan.joint, None))
        joint = scores_of(at_once) if at_once else None
        rows.append(Row(start.label, runs, scores, at_once.id if at_once else None, joint))
    return Outcome(tasks, metrics, [_score(r, m) for r, m in zip(scored, metrics, strict=True)], rows)


def titles(settings: Sequence[RunSettings], stages: Sequence[Sequence[str]]) -> list[str]:
    """A name for each task: that of its data, or where two have the same, what makes it."""
    names = Counter(each.data.name for each in settings)
    return [
        each.data.name if names[each.data.name] == 1 else " ".join(stage)
        for each, stage in zip(settings, stages, strict=True)
    ]


def _done(overrides: list[str]) -> Record:
    record = run_once.run_point(composed(overrides))
    end_unless_ok(record, f"{record.label} ({record.id})")
    return record


def _metric(record: Record, name: str | None, task: str) -> str:
    known = [each for each, value in record.quality.items() if value is not None and each != "val_loss"]
    usable = [each for each in (SCORES if name is None else (name,)) if each in known]
    if not usable:
        raise UserError(f"--score {name or '(none)'}: {task} has no such score; choose from: {', '.join(known)}")
    if (record.better or {}).get(usable[0], "higher") != "higher":
        raise UserError(f"--score {usable[0]}: forgetting and transfer need a score of which more is better; name one")
    return usable[0]


def _score(record: Record, metric: str) -> float:
    value = record.quality[metric]
    assert value is not None, f"{record.id} has no {metric}"
    return value


def render(outcome: Outcome) -> str:
    """The matrix of each method, and a table of all rows."""
    heads = [f"{task} [{metric}]" for task, metric in zip(outcome.tasks, outcome.metrics, strict=True)]

    def row(label: str, scores: Sequence[float]) -> dict[str, str]:
        return {"after": label} | {head: f"{score:.3f}" for head, score in zip(heads, scores, strict=True)}

    parts = []
    for each in outcome.rows:
        lines = [row("nothing (the base)", outcome.base)]
        lines += [row(task, scores) for task, scores in zip(outcome.tasks, each.scores, strict=True)]
        lines += [row("all at once", each.joint)] if each.joint else []
        parts.append(f"## {each.label}\n\n{markdown_table(lines)}")
    summaries = [line for each in outcome.rows for line in summary(outcome, each)]
    return "\n\n".join([*parts, f"## Summary\n\n{markdown_table(summaries)}", NOTES])


NOTES = """\
- Rows are in the order of training; each score is that of the model which the stage kept (an adapter is merged, which
  rounds it to the run's dtype).
- Average forgetting: for each task before the last, its best score so far minus that at the end (Chaudhry et al. 2018).
- Backward transfer: its score at the end minus that right after training on it (Lopez-Paz & Ranzato 2017); forward
  transfer: its score right before training on it minus the base's.
- A mean over tasks that are scored by different metrics has no unit and is left out. One order of tasks, one seed."""


def summary(outcome: Outcome, row: Row) -> list[dict[str, str]]:
    """The measures of one method, in turn and at once; a dash where one is not defined, or would mix units."""
    everywhere, before_last, after_first = (
        len(set(part)) == 1 for part in (outcome.metrics, outcome.metrics[:-1], outcome.metrics[1:])
    )
    average = f"{continual.average_score(row.scores):.3f}" if everywhere else NONE
    line = {"row": row.label, "average score": average}
    line["average forgetting"] = f"{continual.average_forgetting(row.scores):.3f}" if before_last else NONE
    line["backward transfer"] = f"{continual.backward_transfer(row.scores):+.3f}" if before_last else NONE
    line["forward transfer"] = f"{continual.forward_transfer(row.scores, outcome.base):+.3f}" if after_first else NONE
    if row.joint is None:
        return [line]
    average = f"{continual.average_score([row.joint]):.3f}" if everywhere else NONE
    return [line, dict.fromkeys(line, NONE) | {"row": f"{row.label}, all at once", "average score": average}]
