"""Score a file of outputs against references.

Predictions: plain text with one output a line; or csv, tsv or jsonl with a column `prediction` or `output`.
References: plain text with one reference a line, a blank line between the groups of items that have several; or csv,
tsv or jsonl with a column `ref`, `reference`, `target`, `summary`, `answer` or `label`, where rows with one input
(`mr`, `source`) are one item and a jsonl cell may be a list. Files that both have inputs are paired by them, others by
position. Other columns: see the options.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import metrics
from harness.commands._score_files import Columns, read_files
from harness.errors import Parser, UserError
from harness.metrics import Score
from harness.metrics.tools.bootstrap import interval
from harness.texts import UTF8

Interval = tuple[float, float]
DEFAULT = "bleu,nist,meteor,rouge_l,cider,rouge"
EXAMPLES = """examples:
  python -m harness score --predictions out.tsv --references testset_w_refs.csv
  python -m harness score --predictions out.txt --references refs.txt --metrics bleu,rouge --json
  python -m harness score --predictions out.jsonl --references refs.jsonl --reference-column summary --metrics rouge
"""


def main(arguments: list[str]) -> None:
    """Print the scores in the official scorers' units. Raises UserError where the files are not right."""
    options = _parser().parse_args(arguments)
    columns = Columns(options.prediction_column, options.reference_column, options.input_column)
    texts = read_files(options.predictions, options.references, columns, options.encoding)
    names = [name.strip() for name in options.metrics.split(",") if name.strip()]
    if not names:
        raise UserError(f"--metrics: names none; choose from: {', '.join(metrics.families())}")
    scores = metrics.compute(names, texts.predictions, texts.references, texts.sources, options.run_code)
    intervals = {name: interval(one) for name, one in scores.items()} if options.ci else {}
    print(as_json(scores, intervals, len(texts.references)) if options.json else as_text(scores, intervals))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m harness score",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--predictions", required=True, type=Path, metavar="FILE")
    parser.add_argument("--references", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--metrics",
        default=DEFAULT,
        metavar="A,B,…",
        help=f"of {', '.join(metrics.families())} (default: {DEFAULT}); docs/metrics.md says what each is",
    )
    parser.add_argument(
        "--ci", action="store_true", help="add 95%% intervals: a bootstrap over the items, 1,000 resamples"
    )
    parser.add_argument("--run-code", action="store_true", help="run code that was predicted, in a sandbox (pass_at_1)")
    parser.add_argument("--json", action="store_true", help="print JSON with full precision and signatures")
    for name in ("prediction", "reference", "input"):
        parser.add_argument(f"--{name}-column", metavar="NAME", help=f"column of the {name}s in csv, tsv or jsonl")
    parser.add_argument("--encoding", default=UTF8, metavar="NAME", help="of both files (default: UTF-8)")
    return parser


def as_json(by_name: Mapping[str, Score], intervals: Mapping[str, Interval | None], items: int) -> str:
    """The scores as a JSON object."""
    scores: dict[str, dict[str, Any]] = {}
    for name, one in by_name.items():
        scores[name] = {"score": None if one.value is None else one.value * one.official, "signature": one.signature}
        scores[name]["better"] = one.better
        if one.reason:
            scores[name]["reason"] = one.reason
        if name in intervals:
            scores[name]["interval_95"] = _bounds(intervals[name], one.official)
    return json.dumps({"items": items, "scores": scores}, indent=1, ensure_ascii=False)


def as_text(scores: Mapping[str, Score], intervals: Mapping[str, Interval | None]) -> str:
    """A line a score: name, value to four decimals, interval, signature; or `null` with the reason."""
    width = max(map(len, scores))
    lines = []
    for name, one in scores.items():
        value = "null" if one.value is None else f"{one.value * one.official:.4f}"
        bounds = _bounds(intervals[name], one.official) if name in intervals else None
        between = f"[{bounds[0]:.4f}, {bounds[1]:.4f}]" if bounds else ""
        lines.append(f"{name:{width}} {value:>8}  {f'{between:20} ' if intervals else ''}{one.reason or one.signature}")
    return "\n".join(lines)


def _bounds(bounds: Interval | None, official: float) -> list[float] | None:
    """The ends of an interval in the official scorer's unit; None where there is none."""
    return None if bounds is None else [end * official for end in bounds]
