"""One training example as the model reads it: `python -m harness show-example data=…`, or a run with --show-example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.config.compose import compose_settings
from harness.config.run_settings import RunSettings
from harness.errors import Parser, UserError

if TYPE_CHECKING:
    from harness.data import Example
    from harness.prepare.encoding import Encoder

DESCRIPTION = """\
Print a training example as the model reads it: its tokens, whose they are, and which of them are trained on (*).
OVERRIDE is any setting, as for python -m harness; nothing is trained, and no weights are loaded."""

EXAMPLES = """\
examples:
  python -m harness show-example
  python -m harness show-example data=chat data.path=chats.jsonl --number 3
  python -m harness show-example data.chat=true"""


def main(arguments: list[str]) -> None:
    """Print the example. Raises UserError."""
    from argparse import RawDescriptionHelpFormatter

    options = Parser(
        prog="python -m harness show-example",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    options.add_argument("--number", type=int, default=1, metavar="N", help="which of the training split (default: 1)")
    options.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="such as data=…, model=…")
    chosen = options.parse_intermixed_args(arguments)
    print(shown(compose_settings(chosen.overrides), chosen.number))


def shown(settings: RunSettings, number: int) -> str:
    """The text of it. Raises UserError."""
    from harness import data

    examples = data.load(settings.data)[0].train
    if not 1 <= number <= len(examples):
        raise UserError(f"--number {number}: the training split has {len(examples):,} examples; give 1 to that")
    example = examples[number - 1]
    encoder = _encoder(settings)
    encoded = encoder.pair(example, example.references[0])
    trained = set(encoded.places) if encoded.label is None and not encoded.answer else set()
    roles = _roles(encoder, example, len(encoded.ids), min(trained, default=len(encoded.ids)))
    rows = [
        f"{i:5} {'*' if i in trained else ' '} {number:7}  {role:9}  {encoder.tokenizer.decode([number])!r}"
        for i, (number, role) in enumerate(zip(encoded.ids, roles, strict=True))
    ]
    if encoded.answer:
        rows += [
            f"{i:5} {'*' if i else ' '} {number:7}  {'decoder':9}  {encoder.tokenizer.decode([number])!r}"
            for i, number in enumerate(encoded.answer)
        ]
    total, labels = len(encoded), 0 if encoded.label is not None else len(encoded.labels)
    counts = f"{total} tokens, {labels} of them trained on ({labels / total:.0%})"
    if encoded.label is not None:
        counts = f"{total} tokens, to be sorted into the class {example.references[0]!r}"
    head = [
        f"data={settings.data.name}, training example {number} of {len(examples):,}, as {settings.model.name} reads it",
        counts + (f"; text was cut to train.max_length={settings.train.max_length}" if encoded.cut else ""),
        "",
        f"{'place':>5} * {'id':>7}  {'whose':9}  text",
    ]
    return "\n".join([*head, *rows])


def _encoder(settings: RunSettings) -> Encoder:
    """The run's encoder, of a model without weights. Raises UserError."""
    from types import SimpleNamespace

    from harness.prepare.base_model import LoadedModel
    from harness.prepare.encoded_task import encoder_of

    config, tokenizer = settings.model.parts(settings.data.head_classes)
    outline: Any = SimpleNamespace(config=config)
    return encoder_of(settings, LoadedModel(outline, tokenizer))


def _roles(encoder: Encoder, example: Example, tokens: int, first: int) -> list[str]:
    """Whose each token is: a turn's role, or prompt and answer."""
    if not example.turns:
        return ["prompt"] * first + ["answer"] * (tokens - first)
    from harness.prepare.chat import rendered, turn

    turns = [*(turn(*each) for each in example.turns), turn("assistant", example.references[0])]
    ends = []
    for count in range(1, len(turns)):
        text = rendered(encoder.tokenizer, turns[:count], call=False)
        ends.append(len(encoder.tokenizer(text, add_special_tokens=False)["input_ids"]))
    ends.append(tokens)
    roles: list[str] = []
    for each, end in zip(turns, ends, strict=True):
        roles += [each["role"]] * (min(end, tokens) - len(roles))
    return roles
