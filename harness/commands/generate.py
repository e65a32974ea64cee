"""One base model, the adapters of several finished runs in turn: `python -m harness generate --adapters RUN … `."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.commands._finished import FinishedRun, finished_run, prepare, tell
from harness.errors import Parser, UserError
from harness.texts import lines, read_text, refuse_half_pairs

DESCRIPTION = """\
Load a base model once, put the adapters of finished runs on it in turn, and let each answer the same inputs.

An input is what the run's data call a source (for restaurant descriptions `name[Aromi], eatType[pub]`); it is put into
the run's own prompt template. Decoding is the run's own."""

EXAMPLE = """\
example:
  python -m harness generate --adapters lora-0123456789ab ia3-0123456789ab --prompt "name[Aromi], eatType[pub]"
"""


def main(arguments: list[str]) -> None:
    """Print for each input what each adapter makes of it. Raises UserError."""
    parser = Parser(
        prog="python -m harness generate",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--adapters", required=True, nargs="+", metavar="RUN", help="folders or ids of finished runs")
    inputs = parser.add_mutually_exclusive_group(required=True)
    inputs.add_argument(
        "--prompt",
        action="append",
        metavar="TEXT",
        help="an input, of rows of your own the whole rendered prompt; may be given again",
    )
    inputs.add_argument("--input", type=Path, metavar="FILE", help="a text file with one input a line")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER", help="default: %(default)s")
    options = parser.parse_args(arguments)
    prompts = options.prompt or read_inputs(options.input)
    refuse_half_pairs(prompts, "--prompt")
    runs = [finished_run(name, options.results) for name in options.adapters]
    if problems := unlike(runs):
        raise UserError(*problems)
    answers = answer_all(runs, prompts)
    for i, prompt in enumerate(prompts):
        print(f"{prompt}\n" + "".join(f"  {run.name}: {texts[i]}\n" for run, texts in zip(runs, answers, strict=True)))


def read_inputs(path: Path) -> list[str]:
    """The lines of a file that hold anything. Raises UserError."""
    if inputs := [line for line in lines(read_text(path)) if line.strip()]:
        return inputs
    raise UserError(f"{path}: has no inputs; give one a line")


def unlike(runs: Sequence[FinishedRun]) -> list[str]:
    """For each run that was trained on another base than the first one: what differs."""
    first, *rest = runs
    return [
        f"{run.name}: trained on another base than {first.name} ({', '.join(differing)}); serve them apart"
        for run in rest
        if (differing := _differences(_base(first), _base(run)))
    ]


def _base(run: FinishedRun) -> dict[str, Any]:
    """What settles the base model of a run, one level deep."""
    key = run.record.key
    settings, model = key["settings"], key["model"]
    flat: dict[str, Any] = {}
    for name, value in (model | settings["quantization"] | {"dtype": settings["dtype"]}).items():
        flat |= value if isinstance(value, dict) else {name: value}
    return flat


def _differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return [f"{name} {_short(other.get(name))} instead of {_short(one.get(name))}" for name in names]


def _short(value: Any) -> str:
    return str(value) if len(str(value)) < 40 else str(value)[:12]


def answer_all(runs: Sequence[FinishedRun], sources: Sequence[str]) -> list[list[str]]:
    """For each run its answers to the sources, from one loaded base. Raises UserError."""
    from harness.prepare.base_model import load_base

    prepare(runs[0].settings)
    model, tokenizer = load_base(runs[0].settings)
    before = checksums(model)
    answers = []
    for number, run in enumerate(runs, 1):
        tell(f"{number} of {len(runs)}: {run.name}")
        if model is None or checksums(model) != before:
            tell("  the adapter before it has changed the base, which is loaded again")
            model, tokenizer = load_base(runs[0].settings)
        adapted = run.adapted(model)
        answers.append(answers_of(run, adapted, tokenizer, sources))
        model = taken_off(adapted)
    return answers


def answers_of(run: FinishedRun, model: Any, tokenizer: Any, sources: Sequence[str]) -> list[str]:
    """What an adapted model writes about each source."""
    from harness.data import Example
    from harness.evaluation.answers import write_answers
    from harness.prepare.base_model import LoadedModel
    from harness.prepare.encoded_task import encoder_of

    settings = run.settings
    if settings.data.head_classes is not None:
        raise UserError(f"{run.name}: sorts texts into classes and writes none; name runs that generate text")
    loaded = LoadedModel(model, tokenizer)
    encoder = encoder_of(settings, loaded)
    prompts = [encoder.prompt(Example(source, ()), settings.eval.max_new_tokens) for source in sources]
    predictions = write_answers(settings.method.generate, loaded, prompts, settings.eval, source=settings.data)
    return [each.text for each in predictions]


def taken_off(model: Any) -> Any | None:
    """The base under an adapter; None where PEFT cannot give it back."""
    from peft import PeftModel

    from harness.models.split_layers import restore

    if not isinstance(model, PeftModel):
        return model
    config: Any = model.active_peft_config
    if config.is_prompt_learning:
        return model.get_base_model()
    return restore(model.unload()) if hasattr(model.base_model, "unload") else None


def checksums(model: Any) -> dict[str, float]:
    """A sum of each plain weight, by name: some adapters rewrite the base, now or when they are loaded."""
    return {n: p.detach().double().sum().item() for n, p in model.named_parameters() if p.is_floating_point()}
